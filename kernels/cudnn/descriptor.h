#pragma once
// Wraps the descriptors of cuDNN's graph API in objects.

#include <cudnn.h>
#include <span>
#include <string>
#include <vector>

namespace sculpt::kernels::cudnn {

/// Returns cuDNN's text for a status that was just returned.
std::string describe(cudnnStatus_t status);
/// Throws Error if `status` is not success: "what: cuDNN's text".
void check(cudnnStatus_t status, const char* what);

class Descriptor {
 public:
  explicit Descriptor(cudnnBackendDescriptorType_t type);
  ~Descriptor();
  Descriptor(Descriptor&& other) noexcept;
  Descriptor& operator=(Descriptor&&) = delete;

  cudnnBackendDescriptor_t get() const { return descriptor_; }

  void set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t count,
           const void* values);
  void set(cudnnBackendAttributeName_t name, std::span<const int64_t> values);
  void set(cudnnBackendAttributeName_t name, int64_t value);
  void set(cudnnBackendAttributeName_t name, float value);
  void set(cudnnBackendAttributeName_t name, cudnnDataType_t value);
  void set(cudnnBackendAttributeName_t name, const Descriptor& value);

  int64_t integer(cudnnBackendAttributeName_t name) const;
  /// Fills `values`, which must be finished descriptors of the right type. Returns the number of
  /// values.
  size_t read(cudnnBackendAttributeName_t name, std::span<Descriptor> values) const;
  std::vector<cudnnBackendNumericalNote_t> numerical_notes() const;

  void finish(const char* what);
  /// Returns a status other than success if cuDNN refuses: the engine does not exist, or it does
  /// not support this problem or device.
  cudnnStatus_t try_finish();

 private:
  cudnnBackendDescriptor_t descriptor_ = nullptr;
};

}  // namespace sculpt::kernels::cudnn
