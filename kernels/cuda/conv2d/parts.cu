#include "kernels/cuda/conv2d/parts.h"
#include "kernels/cuda/nhwc.h"

namespace sculpt::kernels::cuda {
namespace {

/// Adds the bias. A thread processes N neighbouring channels. y passes through memory twice.
template <class T, int N>
__global__ void __launch_bounds__(kThreads)
    add_channels(T* y, const float* bias, int64_t vectors, int channels) {
  follow_previous_kernels();
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (index >= vectors) return;
  const auto channel = static_cast<int>(index * N % channels);
  Floats<N> values = load_floats<N>(y + index * N);
  for (int i = 0; i < N; ++i)
    values.at[i] += bias[channel + i];
  store_floats(y + index * N, values);
}

}  // namespace

template <class T>
void add_bias(void* y, const void* bias, const ActivationShape& shape, const Launch& launch) {
  with_vector<T>(shape.channels, [&](auto n) {
    const int64_t vectors = launch.batch * shape.elements_per_image() / n;
    const dim3 grid(static_cast<unsigned>(ceil_div(vectors, kThreads)));
    SCULPT_LAUNCH((add_channels<T, decltype(n)::value>), grid, dim3(kThreads), 0, launch.stream,
                  static_cast<T*>(y), static_cast<const float*>(bias), vectors,
                  static_cast<int>(shape.channels));
  });
}

template <class T>
void write_weight_grad(void* dweight, const void* gradient, const Conv2dShape& shape,
                       GradWrite write, void* stream) {
  transpose<float, T>(dweight, gradient, shape.kernel_h * shape.kernel_w,
                      shape.in_channels_per_group(), write, {shape.out.channels, stream});
}

template void add_bias<float>(void*, const void*, const ActivationShape&, const Launch&);
template void add_bias<bf16>(void*, const void*, const ActivationShape&, const Launch&);
template void write_weight_grad<float>(void*, const void*, const Conv2dShape&, GradWrite, void*);
template void write_weight_grad<bf16>(void*, const void*, const Conv2dShape&, GradWrite, void*);

}  // namespace sculpt::kernels::cuda
