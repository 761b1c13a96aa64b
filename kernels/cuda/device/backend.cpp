#include "kernels/cuda/device/backend.h"

#include <atomic>
#include <cuda_runtime.h>
#include <map>
#include <mutex>

#include "kernels/common/check.h"
#include "kernels/common/environment.h"
#include "kernels/cuda/conv2d/library.h"
#include "kernels/cuda/device/device_guard.h"
#include "kernels/cuda/device/device_memory.h"
#include "kernels/cuda/device/recording.h"
#include "kernels/cuda/device/status.h"
#include "kernels/cuda/device/stream.h"
#include "kernels/cuda/device/tracing.h"
#include "kernels/cuda/element.h"
#include "kernels/cuda/tables.h"

namespace sculpt::kernels::cuda {

namespace {

/// Returns true for errors that a kernel causes while it runs. The next call of CUDA, whichever it
/// is, reports them.
bool is_of_a_running_kernel(cudaError_t status) {
  switch (static_cast<int>(status)) {
    case 214:  // cudaErrorECCUncorrectable
    case 700:  // cudaErrorIllegalAddress
    case 702:  // cudaErrorLaunchTimeout
    case 710:  // cudaErrorAssert
    case 714:  // cudaErrorHardwareStackError
    case 715:  // cudaErrorIllegalInstruction
    case 716:  // cudaErrorMisalignedAddress
    case 717:  // cudaErrorInvalidAddressSpace
    case 718:  // cudaErrorInvalidPc
    case 719:  // cudaErrorLaunchFailure
      return true;
    default:
      return false;
  }
}

constexpr const char* kFindOut = "SCULPT_CUDA_SYNC=1 says which";

}  // namespace

void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // clears the error, so that the next launch does not report it again
  const bool earlier = is_of_a_running_kernel(status) && !waits_for_launches();
  fail("{}: CUDA says '{}' ({}){}", what, cudaGetErrorString(status), cudaGetErrorName(status),
       earlier ? fmt::format("; a kernel launched before failed, {}", kFindOut) : "");
}

void raise(const std::string& message) {
  throw Error(message);
}

bool waits_for_launches() {
  static const bool wait = environment_flag("SCULPT_CUDA_SYNC");
  return wait;
}

namespace detail {

void check_launch(const char* kernel, cudaStream_t stream) {
  cudaError_t status = cudaGetLastError();
  if (waits_for_launches()) {
    if (status == cudaSuccess) status = cudaStreamSynchronize(stream);
    check(status, kernel);
  }
  // The launch may have succeeded, and a kernel launched before it may have failed.
  if (status != cudaSuccess)
    fail("{}, or a kernel launched before it ({}): CUDA says '{}' ({})", kernel, kFindOut,
         cudaGetErrorString(status), cudaGetErrorName(status));
}

void allow_shared_memory(const void* kernel, const char* name, size_t bytes) {
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(bytes)),
        name);
}

#if !defined(SCULPT_CUDA_ON_HOST)
bool may_start_early(const void* kernel, const char* name) {
  static const bool wanted = !environment_is_off("SCULPT_CUDA_OVERLAP");
  static std::mutex mutex;
  static std::map<const void*, bool> known;
  if (!wanted) return false;
  const std::lock_guard lock(mutex);
  const auto found = known.find(kernel);
  if (found != known.end()) return found->second;
  constexpr int kFirst = 90;  // compute capability 9.0
  cudaFuncAttributes attributes;
  check(cudaFuncGetAttributes(&attributes, kernel), name);
  // Code that the driver has compiled from PTX for an older architecture does not wait.
  return known[kernel] = attributes.binaryVersion >= kFirst && attributes.ptxVersion >= kFirst;
}
#endif

}  // namespace detail

namespace {

// This is the first architecture with tensor-core instructions on bf16 and asynchronous copies.
constexpr int kOldestMajor = 8;

std::atomic<bool> has_stream = false;

/// T is the type of activations and of the compute copy of weights. `full_precision` may point at
/// the backend that is being created.
template <class T>
Backend make_backend(const char* name, Precision precision, const Backend* full_precision) {
  return {
      .name = name,
      .layout = Layout::nhwc,
      .lanes = 1,
      .activation_bytes = sizeof(T),
      .parameter_bytes = sizeof(float),
      .compute_weight_bytes = sizeof(T),
      .memory = &device_memory(),
      .stream = backend_stream(),
      .full_precision = full_precision,
      .conv2d = conv2d_kernels(precision),
      .linear = linear_kernels(precision),
      .batch_norm = batch_norm_kernels<T>(),
      .conv_norm = conv_norm_kernels(precision),
      .elementwise = elementwise_kernels<T>(),
      .pooling = pooling_kernels<T>(),
      .loss = loss_kernels<T>(),
      .input = input_kernels<T>(),
      .masked_update = masked_update_kernels<T>(),
      .soft_threshold = soft_threshold_kernels(),
      .gradients = gradient_kernels(),
      .pruning = pruning_kernels(),
      .ranking = ranking_kernels(),
      .trace = trace_hooks(),
      .recording = recording_hooks(),
  };
}

Precision precision_of(const Backend& backend) {
  if (backend.activation_bytes == sizeof(bf16)) return Precision::bf16;
  return backend.name == "cuda-tf32" ? Precision::tf32 : Precision::fp32;
}

}  // namespace

cudaStream_t backend_stream() {
  static const cudaStream_t the_stream = [] {
    use_device(chosen_device());
    const DeviceGuard guard;
    cudaStream_t created = nullptr;
    check(cudaStreamCreateWithFlags(&created, cudaStreamNonBlocking), "creating a CUDA stream");
    has_stream = true;
    return created;
  }();
  return the_stream;
}

std::string why_unusable(int index) {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  // If CUDA reports an insufficient driver, there is usually no driver at all.
  if (status == cudaErrorInsufficientDriver)
    return "this machine has no NVIDIA driver, or one too old for this build";
  if (status != cudaSuccess)
    return fmt::format("no GPU can be used here: {}", cudaGetErrorString(status));
  if (index >= count)
    return fmt::format("there is no GPU {}: this machine has {}, counted from 0", index, count);
  cudaDeviceProp properties;
  check(cudaGetDeviceProperties(&properties, index), "asking for the GPU's properties");
  if (properties.major < kOldestMajor)
    return fmt::format("GPU {} ({}) has compute capability {}.{}; {}.0 or newer is needed", index,
                       properties.name, properties.major, properties.minor, kOldestMajor);
  return {};
}

std::string describe_device(int index) {
  cudaDeviceProp properties;
  check(cudaGetDeviceProperties(&properties, index), "asking for the GPU's properties");
  return fmt::format("{}, {:.1f} GiB, compute capability {}.{}", properties.name,
                     static_cast<double>(properties.totalGlobalMem) / (1 << 30), properties.major,
                     properties.minor);
}

int count_devices() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

std::string bus_id(int index) {
  char text[32] = {};
  check(cudaDeviceGetPCIBusId(text, sizeof(text), index), "asking for the GPU's place");
  return text;
}

void use_device(int index) {
  const std::string problem = why_unusable(index);
  if (!problem.empty()) fail("{}; use --device cpu", problem);
  if (has_stream && index != chosen_device())
    fail("GPU {} is in use: a process works on one GPU, and cannot change to GPU {}",
         chosen_device(), index);
  check(cudaSetDevice(index), "choosing the GPU");
  choose_device(index);
}

std::vector<const Backend*> backends() {
  static const Backend fp32 = make_backend<float>("cuda-fp32", Precision::fp32, &fp32);
  static const Backend tf32 = make_backend<float>("cuda-tf32", Precision::tf32, &fp32);
  static const Backend in_bf16 = make_backend<bf16>("cuda-bf16", Precision::bf16, &fp32);
  return {&fp32, &tf32, &in_bf16};
}

const Backend* library_backend(const Backend& native, const ConvLibrary& library,
                               Chooser& chooser) {
  static std::map<std::string, Backend> made;  // the keys own the names of the backends
  const std::string name = std::string(native.name) + (chooser.measures() ? "-auto" : "-cudnn");
  const auto [place, is_new] = made.try_emplace(name, native);
  Backend& backend = place->second;
  if (is_new) {
    const LibraryTables tables = library_tables(native, precision_of(native), library, chooser);
    backend.name = place->first;
    backend.conv2d = tables.conv2d;
    backend.linear = tables.linear;
    // The library has no joint passes. Where it must compute all convolutions, ours are not used.
    if (!chooser.measures()) backend.conv_norm = {};
  }
  return &backend;
}

}  // namespace sculpt::kernels::cuda
