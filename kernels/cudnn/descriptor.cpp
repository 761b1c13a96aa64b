#include "kernels/cudnn/descriptor.h"

#include <utility>

#include "kernels/common/check.h"

namespace sculpt::kernels::cudnn {

std::string describe(cudnnStatus_t status) {
  char detail[512] = "";
  cudnnGetLastErrorString(detail, sizeof(detail));
  return fmt::format("cuDNN says '{}' {}", cudnnGetErrorString(status), detail);
}

void check(cudnnStatus_t status, const char* what) {
  if (status != CUDNN_STATUS_SUCCESS) fail("{}: {}", what, describe(status));
}

Descriptor::Descriptor(cudnnBackendDescriptorType_t type) {
  check(cudnnBackendCreateDescriptor(type, &descriptor_), "making a cuDNN descriptor");
}

Descriptor::~Descriptor() {
  if (descriptor_ != nullptr) cudnnBackendDestroyDescriptor(descriptor_);
}

Descriptor::Descriptor(Descriptor&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, nullptr)) {}

void Descriptor::set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                     int64_t count, const void* values) {
  check(cudnnBackendSetAttribute(descriptor_, name, type, count, values),
        "describing a convolution to cuDNN");
}

void Descriptor::set(cudnnBackendAttributeName_t name, std::span<const int64_t> values) {
  set(name, CUDNN_TYPE_INT64, std::ssize(values), values.data());
}

void Descriptor::set(cudnnBackendAttributeName_t name, int64_t value) {
  set(name, CUDNN_TYPE_INT64, 1, &value);
}

void Descriptor::set(cudnnBackendAttributeName_t name, float value) {
  set(name, CUDNN_TYPE_FLOAT, 1, &value);
}

void Descriptor::set(cudnnBackendAttributeName_t name, cudnnDataType_t value) {
  set(name, CUDNN_TYPE_DATA_TYPE, 1, &value);
}

void Descriptor::set(cudnnBackendAttributeName_t name, const Descriptor& value) {
  set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value.descriptor_);
}

int64_t Descriptor::integer(cudnnBackendAttributeName_t name) const {
  int64_t count = 0, value = 0;
  check(cudnnBackendGetAttribute(descriptor_, name, CUDNN_TYPE_INT64, 1, &count, &value),
        "asking a cuDNN descriptor");
  return value;
}

size_t Descriptor::read(cudnnBackendAttributeName_t name, std::span<Descriptor> values) const {
  std::vector<cudnnBackendDescriptor_t> raw;
  for (const Descriptor& value : values)
    raw.push_back(value.descriptor_);
  int64_t count = 0;
  check(cudnnBackendGetAttribute(descriptor_, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, std::ssize(raw),
                                 &count, raw.data()),
        "asking a cuDNN descriptor");
  return static_cast<size_t>(count);
}

std::vector<cudnnBackendNumericalNote_t> Descriptor::numerical_notes() const {
  std::vector<cudnnBackendNumericalNote_t> notes(CUDNN_NUMERICAL_NOTE_TYPE_COUNT);
  int64_t count = 0;
  check(
      cudnnBackendGetAttribute(descriptor_, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE,
                               CUDNN_TYPE_NUMERICAL_NOTE, std::ssize(notes), &count, notes.data()),
      "asking how a cuDNN engine computes");
  notes.resize(static_cast<size_t>(count));
  return notes;
}

void Descriptor::finish(const char* what) {
  check(cudnnBackendFinalize(descriptor_), what);
}

cudnnStatus_t Descriptor::try_finish() {
  return cudnnBackendFinalize(descriptor_);
}

}  // namespace sculpt::kernels::cudnn
