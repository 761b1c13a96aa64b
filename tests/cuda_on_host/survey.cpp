#include "cuda_on_host/survey.h"

#include <utility>

#include "machine.h"

namespace cuda_on_host {
namespace {

std::function<void(const SurveyedLaunch&)>& observer() {
  static auto& of_all = *new std::function<void(const SurveyedLaunch&)>;
  return of_all;
}

BlockWork counted;

bool is_global(const void* p) {
  const auto* begin = static_cast<const unsigned char*>(machine.dynamic_shared);
  const auto* at = static_cast<const unsigned char*>(p);
  return at < begin || at >= begin + machine.dynamic_shared_bytes;
}

}  // namespace

void survey(std::function<void(const SurveyedLaunch&)> each) {
  const std::lock_guard lock(machine.mutex);
  observer() = std::move(each);
}

bool is_surveying() {
  return static_cast<bool>(observer());
}

void count_matrix_product() {
  ++counted.matrix_products;
}

void count_copy(size_t bytes) {
  counted.copied_bytes += bytes;
}

void count_read(const void* p, size_t bytes) {
  if (is_global(p)) counted.read_bytes += bytes;
}

void count_write(const void* p, size_t bytes) {
  if (is_global(p)) counted.written_bytes += bytes;
}

BlockWork take_counted_work() {
  return std::exchange(counted, {});
}

void tell_observer(const SurveyedLaunch& launch) {
  observer()(launch);
}

}  // namespace cuda_on_host
