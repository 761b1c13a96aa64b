#include "kernels/cuda/backend.h"

#include <cstdlib>
#include <cuda_runtime.h>

#include "kernels/common/check.h"
#include "kernels/cuda/element.h"
#include "kernels/cuda/status.h"
#include "kernels/cuda/tables.h"
#include "kernels/cuda/tracing.h"

namespace sculpt::kernels::cuda {

void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  fail("{}: CUDA says '{}' ({})", what, cudaGetErrorString(status), cudaGetErrorName(status));
}

void raise(const std::string& message) {
  throw Error(message);
}

namespace detail {

void check_launch(const char* kernel, cudaStream_t stream) {
  static const bool wait = std::getenv("SCULPT_CUDA_SYNC") != nullptr;
  check(cudaGetLastError(), kernel);
  if (wait) check(cudaStreamSynchronize(stream), kernel);
}

void allow_shared_memory(const void* kernel, const char* name, size_t bytes) {
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(bytes)),
        name);
}

}  // namespace detail

namespace {

// Tensor-core instructions on bf16 and asynchronous copies begin with this architecture.
constexpr int kOldestMajor = 8;

int chosen_device = 0;

cudaStream_t stream() {
  static const cudaStream_t the_stream = [] {
    use_device(chosen_device);
    cudaStream_t created = nullptr;
    check(cudaStreamCreateWithFlags(&created, cudaStreamNonBlocking), "creating a CUDA stream");
    return created;
  }();
  return the_stream;
}

void* allocate(size_t bytes) {
  void* data = nullptr;
  const cudaError_t status = cudaMalloc(&data, bytes);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // not sticky: the caller reports it
    return nullptr;
  }
  check(status, "allocating GPU memory");
  return data;
}

// A destructor's work: an error here would hide the one that led to it.
void release(void* data) {
  cudaFree(data);
}

void zero(void* data, size_t bytes) {
  check(cudaMemsetAsync(data, 0, bytes, stream()), "zeroing GPU memory");
}

void copy_in(void* device, const void* host, size_t bytes) {
  // From pageable memory: returns when the host's bytes have been read.
  check(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, stream()),
        "copying to the GPU");
}

void copy_out(void* host, const void* device, size_t bytes) {
  check(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, stream()),
        "copying from the GPU");
  check(cudaStreamSynchronize(stream()), "waiting for the GPU");
}

void synchronize() {
  check(cudaStreamSynchronize(stream()), "waiting for the GPU");
}

const DeviceMemory kMemory = {allocate, release, zero, copy_in, copy_out, synchronize};

/// T: activations and the compute copy of weights. `full_precision` may be the one that is made.
template <class T>
Backend make_backend(const char* name, Precision precision, const Backend* full_precision) {
  return {
      .name = name,
      .layout = Layout::nhwc,
      .lanes = 1,
      .activation_bytes = sizeof(T),
      .parameter_bytes = sizeof(float),
      .packed_weight_bytes = sizeof(T),
      .memory = &kMemory,
      .stream = stream(),
      .full_precision = full_precision,
      .conv2d = conv2d_kernels(precision),
      .linear = linear_kernels(precision),
      .batch_norm = batch_norm_kernels<T>(),
      .elementwise = elementwise_kernels<T>(),
      .pooling = pooling_kernels<T>(),
      .loss = loss_kernels<T>(),
      .input = input_kernels<T>(),
      .masked_sgd = masked_sgd_kernels<T>(),
      .pruning = pruning_kernels(),
      .ranking = ranking_kernels(),
      .trace = trace_hooks(),
  };
}

}  // namespace

std::string why_unusable(int index) {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  // What CUDA calls an insufficient driver is usually none at all.
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

void use_device(int index) {
  const std::string problem = why_unusable(index);
  if (!problem.empty()) fail("{}; use --device cpu", problem);
  check(cudaSetDevice(index), "choosing the GPU");
  chosen_device = index;
}

std::vector<const Backend*> backends() {
  static const Backend fp32 = make_backend<float>("cuda-fp32", Precision::fp32, &fp32);
  static const Backend tf32 = make_backend<float>("cuda-tf32", Precision::tf32, &fp32);
  static const Backend in_bf16 = make_backend<bf16>("cuda-bf16", Precision::bf16, &fp32);
  return {&fp32, &tf32, &in_bf16};
}

}  // namespace sculpt::kernels::cuda
