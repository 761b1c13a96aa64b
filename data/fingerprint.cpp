#include "data/fingerprint.h"

#include <span>

#include "engine/core/checksum.h"

namespace sculpt::data {
namespace {

template <class T>
void add(Checksum& checksum, const std::vector<T>& values) {
  checksum.add(std::as_bytes(std::span(values)));
}

void add(Checksum& checksum, const Dataset& set) {
  const int64_t sizes[] = {set.shape.channels, set.shape.height, set.shape.width, set.classes,
                           set.size()};
  checksum.add(std::as_bytes(std::span(sizes)));
  add(checksum, set.normalization.mean);
  add(checksum, set.normalization.std);
  add(checksum, set.labels);
  add(checksum, set.images);
}

}  // namespace

std::string fingerprint(const Dataset& train, const Dataset& test) {
  Checksum checksum;
  add(checksum, train);
  add(checksum, test);
  return checksum.digits();
}

std::string fingerprint(const TrainTest& sets) {
  return fingerprint(sets.train, sets.test);
}

}  // namespace sculpt::data
