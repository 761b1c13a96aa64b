// Elementwise kernels, bound by memory bandwidth. Every operand is read once and the result is
// written once; with accumulation, the result is also read. Dropout spends about 80 integer
// operations per element on Philox. Only dropout and flatten depend on the shape; for the other
// kernels, activations are contiguous arrays.

#include "kernels/common/philox.h"
#include "kernels/cuda/nhwc.h"
#include "kernels/cuda/tables.h"

namespace sculpt::kernels::cuda {
namespace {

struct Relu {
  static constexpr bool kReadsB = false;
  __device__ float operator()(float x, float) const { return x < 0 ? 0 : x; }  // NaN stays NaN
};
struct ReluGradient {
  static constexpr bool kReadsB = true;
  __device__ float operator()(float dy, float y) const { return y > 0 ? dy : 0; }
};
struct Add {
  static constexpr bool kReadsB = true;
  __device__ float operator()(float a, float b) const { return a + b; }
};
struct Copy {
  static constexpr bool kReadsB = false;
  __device__ float operator()(float x, float) const { return x; }
};

/// Computes N elements, starting at element `i`: out (=, +=) op(a, b).
template <class Op, int N, class T>
__device__ void map_at(T* out, const T* a, const T* b, int64_t i, bool accumulate) {
  const Op op;
  Floats<N> value = load_floats<N>(a + i);
  Floats<N> other = {};
  if constexpr (Op::kReadsB) other = load_floats<N>(b + i);
  for (int k = 0; k < N; ++k)
    value.at[k] = op(value.at[k], other.at[k]);
  write_floats(out + i, value, accumulate);
}

/// Returns the first of the kVector<T> elements of this thread.
template <class T>
__device__ int64_t first_element() {
  return (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) * kVector<T>;
}

template <class Op, class T>
__global__ void __launch_bounds__(kThreads)
    map(T* out, const T* a, const T* b, int64_t count, bool accumulate) {
  follow_previous_kernels();
  const int64_t i = first_element<T>();
  if (i + kVector<T> <= count) {
    map_at<Op, kVector<T>>(out, a, b, i, accumulate);
  } else {
    for (int64_t rest = i; rest < count; ++rest)
      map_at<Op, 1>(out, a, b, rest, accumulate);
  }
}

/// The parameters of a dropout. Masks are counted in CHW order.
struct DropoutPlan {
  int64_t count;
  int64_t pixels;  // pixels of an image
  int64_t channels;
  int64_t first_image;
  uint64_t key;
  const uint64_t* step;
  float rate;
  float scale;  // 1 / (1 - rate)
};

/// Walks over elements in NHWC order and tracks their index in NCHW order.
class ChwIndex {
 public:
  __device__ ChwIndex(const DropoutPlan& plan, int64_t element)
      : plan_(plan), channel_(element % plan.channels) {
    const int64_t pixel = element / plan.channels;
    image_ = plan.first_image + pixel / plan.pixels;
    pixel_ = pixel % plan.pixels;
  }
  __device__ uint64_t operator*() const {
    return static_cast<uint64_t>((image_ * plan_.channels + channel_) * plan_.pixels + pixel_);
  }
  __device__ void operator++() {
    if (++channel_ < plan_.channels) return;
    channel_ = 0;
    if (++pixel_ < plan_.pixels) return;
    pixel_ = 0;
    ++image_;
  }

 private:
  const DropoutPlan& plan_;
  int64_t channel_, pixel_, image_;
};

/// Computes N elements, starting at element `i`: out (=, +=) kept ? in / (1 - rate) : 0.
template <int N, class T>
__device__ void dropout_at(T* out, const T* in, int64_t i, ChwIndex& index, const DropoutPlan& plan,
                           bool accumulate) {
  Floats<N> value = load_floats<N>(in + i);
  for (int k = 0; k < N; ++k, ++index) {
    const uint32_t word = philox4x32_words(plan.key, *index, *plan.step).at[0];
    value.at[k] = philox_uniform(word) < plan.rate ? 0 : value.at[k] * plan.scale;
  }
  write_floats(out + i, value, accumulate);
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    dropout_elements(T* out, const T* in, const DropoutPlan plan, bool accumulate) {
  follow_previous_kernels();
  const int64_t i = first_element<T>();
  ChwIndex index(plan, i);
  if (i + kVector<T> <= plan.count) {
    dropout_at<kVector<T>>(out, in, i, index, plan, accumulate);
  } else {
    for (int64_t rest = i; rest < plan.count; ++rest)
      dropout_at<1>(out, in, rest, index, plan, accumulate);
  }
}

template <class T>
dim3 grid_for(int64_t count) {
  return dim3(static_cast<unsigned>(ceil_div(count, int64_t{kThreads} * kVector<T>)));
}

template <class Op, class T>
void launch_map(void* out, const void* a, const void* b, const ActivationShape& shape,
                GradWrite write, const Launch& launch) {
  const int64_t count = launch.batch * shape.elements_per_image();
  SCULPT_LAUNCH((map<Op, T>), grid_for<T>(count), dim3(kThreads), 0, launch.stream,
                static_cast<T*>(out), static_cast<const T*>(a), static_cast<const T*>(b), count,
                write == GradWrite::accumulate);
}

template <class T>
void relu_forward(void* y, const void* x, const ActivationShape& shape, const Launch& launch) {
  launch_map<Relu, T>(y, x, nullptr, shape, GradWrite::overwrite, launch);
}

template <class T>
void relu_backward(void* dx, const void* dy, const void* y, const ActivationShape& shape,
                   GradWrite write, const Launch& launch) {
  launch_map<ReluGradient, T>(dx, dy, y, shape, write, launch);
}

template <class T>
void add_forward(void* y, const void* a, const void* b, const ActivationShape& shape,
                 const Launch& launch) {
  launch_map<Add, T>(y, a, b, shape, GradWrite::overwrite, launch);
}

template <class T>
void pass_through(void* dx, const void* dy, const ActivationShape& shape, GradWrite write,
                  const Launch& launch) {
  launch_map<Copy, T>(dx, dy, nullptr, shape, write, launch);
}

template <class T>
void dropout_backward(void* dx, const void* dy, const ActivationShape& shape,
                      const DropoutDraw& draw, GradWrite write, const Launch& launch) {
  DropoutPlan plan;
  plan.count = launch.batch * shape.elements_per_image();
  plan.pixels = shape.height * shape.width;
  plan.channels = shape.channels;
  plan.first_image = draw.first_image;
  plan.key = draw.key;
  plan.step = draw.step;
  plan.rate = draw.rate;
  plan.scale = 1.0f / (1.0f - draw.rate);
  SCULPT_LAUNCH((dropout_elements<T>), grid_for<T>(plan.count), dim3(kThreads), 0, launch.stream,
                static_cast<T*>(dx), static_cast<const T*>(dy), plan,
                write == GradWrite::accumulate);
}

template <class T>
void dropout_forward(void* y, const void* x, const ActivationShape& shape, const DropoutDraw& draw,
                     const Launch& launch) {
  dropout_backward<T>(y, x, shape, draw, GradWrite::overwrite, launch);
}

/// Returns true if flattening is a plain copy. Features are in CHW order and activations in HWC
/// order, which are the same if there is one channel or one pixel.
bool flat_already(const ActivationShape& s) {
  return s.channels == 1 || s.height * s.width == 1;
}

template <class T>
void flatten_forward(void* y, const void* x, const ActivationShape& shape, const Launch& launch) {
  if (flat_already(shape)) return pass_through<T>(y, x, shape, GradWrite::overwrite, launch);
  transpose<T, T>(y, x, shape.height * shape.width, shape.channels, GradWrite::overwrite, launch);
}

template <class T>
void flatten_backward(void* dx, const void* dy, const ActivationShape& shape, GradWrite write,
                      const Launch& launch) {
  if (flat_already(shape)) return pass_through<T>(dx, dy, shape, write, launch);
  transpose<T, T>(dx, dy, shape.channels, shape.height * shape.width, write, launch);
}

}  // namespace

template <class T>
ElementwiseKernels elementwise_kernels() {
  return {relu_forward<T>,    relu_backward<T>,    add_forward<T>,     pass_through<T>,
          dropout_forward<T>, dropout_backward<T>, flatten_forward<T>, flatten_backward<T>};
}
template ElementwiseKernels elementwise_kernels<float>();
template ElementwiseKernels elementwise_kernels<bf16>();

}  // namespace sculpt::kernels::cuda
