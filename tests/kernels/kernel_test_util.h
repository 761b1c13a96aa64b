#pragma once
// Moving plain NCHW numbers into and out of a backend's activation layout, with a frame (halo,
// guard, and words beyond both ends) of NaN: a kernel that reads the frame poisons its result, one
// that writes it is caught by frame_intact(). For kernels that never need the halo's zeros.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <doctest/doctest.h>
#include <limits>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "kernels/common/parallel.h"
#include "kernels/common/philox.h"

namespace sculpt::kernels::test {

using Values = std::vector<double>;

/// The CPU backends that run here, then the reference backend.
inline std::vector<const Backend*> all_backends() {
  std::vector<const Backend*> backends = available_cpu_backends();
  backends.push_back(&reference_backend());
  return backends;
}

/// Uniform in [-scale, scale), exactly representable in float.
inline Values random_values(int64_t count, uint64_t seed, double scale = 1) {
  Values values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>(scale * (2.0 * philox_uniform(philox4x32(seed, i, 0)[0]) - 1));
  return values;
}

/// Numbers in a backend's element type.
class Array {
 public:
  Array(const Backend& backend, const Values& values)
      : is_double_(backend.element_bytes == sizeof(double)) {
    for (const double value : values)
      push(value);
  }

  void* data() { return is_double_ ? static_cast<void*>(doubles_.data()) : floats_.data(); }
  size_t size() const { return is_double_ ? doubles_.size() : floats_.size(); }
  double get(size_t i) const { return is_double_ ? doubles_[i] : floats_[i]; }
  void set(size_t i, double value) {
    if (is_double_)
      doubles_[i] = value;
    else
      floats_[i] = static_cast<float>(value);
  }
  Values values() const {
    Values values(size());
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = get(i);
    return values;
  }

 private:
  void push(double value) {
    if (is_double_)
      doubles_.push_back(value);
    else
      floats_.push_back(static_cast<float>(value));
  }

  bool is_double_;
  std::vector<float> floats_;
  std::vector<double> doubles_;
};

/// One activation or activation gradient.
class Activation {
 public:
  static constexpr int64_t kMargin = 64;  // words beyond both ends of the buffer

  /// Padded lanes get `padded`: any finite number for values, 0 for gradients.
  Activation(const Backend& backend, const ActivationShape& shape, const Launch& launch,
             const Values& nchw, double padded)
      : shape_(shape),
        batch_(launch.batch),
        lanes_(backend.lanes),
        element_bytes_(backend.element_bytes),
        cells_(backend, Values(static_cast<size_t>(words(backend)),
                               std::numeric_limits<double>::quiet_NaN())) {
    REQUIRE(nchw.size() == static_cast<size_t>(batch_ * shape.elements_per_image()));
    size_t next = 0;
    for_each_pixel(padded_batch(),
                   [&](int64_t n, size_t i) { cells_.set(i, n < batch_ ? nchw[next++] : padded); });
  }

  /// An output: holds a recognisable number until it is written.
  Activation(const Backend& backend, const ActivationShape& shape, const Launch& launch)
      : Activation(backend, shape, launch,
                   Values(static_cast<size_t>(launch.batch * shape.elements_per_image()), 4096.0),
                   4096.0) {}

  void* data() {
    return static_cast<char*>(cells_.data()) + origin() * static_cast<int64_t>(element_bytes_);
  }

  Values nchw() const {
    Values values;
    for_each_pixel(batch_, [&](int64_t, size_t i) { values.push_back(cells_.get(i)); });
    return values;
  }

  /// Nothing but pixels was written (NaN compares unequal to all that kernels write).
  bool frame_intact() const {
    Array cells = cells_;
    for_each_pixel(padded_batch(), [&](int64_t, size_t i) { cells.set(i, std::nan("")); });
    for (size_t i = 0; i < cells.size(); ++i)
      if (!std::isnan(cells.get(i))) return false;
    return true;
  }

  bool padded_lanes_zero() const {
    bool zero = true;
    for_each_pixel(padded_batch(), [&](int64_t n, size_t i) {
      if (n >= batch_) zero = zero && cells_.get(i) == 0;
    });
    return zero;
  }

  bool padded_lanes_finite() const {
    bool finite = true;
    for_each_pixel(padded_batch(), [&](int64_t n, size_t i) {
      if (n >= batch_) finite = finite && std::isfinite(cells_.get(i));
    });
    return finite;
  }

 private:
  int64_t padded_batch() const { return ceil_div(batch_, lanes_) * lanes_; }
  int64_t words(const Backend& backend) const {
    return shape_.buffer_cells(backend.blocks(batch_)) * backend.lanes + 2 * kMargin;
  }
  int64_t origin() const { return kMargin + shape_.guard_cells() * lanes_; }

  /// Calls body(image, index into cells_) in NCHW order.
  template <class Body>
  void for_each_pixel(int64_t images, const Body& body) const {
    for (int64_t n = 0; n < images; ++n)
      for (int64_t c = 0; c < shape_.channels; ++c)
        for (int64_t y = 0; y < shape_.height; ++y)
          for (int64_t x = 0; x < shape_.width; ++x) {
            const int64_t cell = n / lanes_ * shape_.block_stride() + c * shape_.plane_stride() +
                                 y * shape_.row_stride() + x;
            body(n, static_cast<size_t>(origin() + cell * lanes_ + n % lanes_));
          }
  }

  ActivationShape shape_;
  int64_t batch_;
  int64_t lanes_;
  size_t element_bytes_;
  Array cells_;
};

/// Tolerance for this backend: `single` in float, near exact in the reference's double.
inline double tolerance(const Backend& backend, double single) {
  return backend.element_bytes == sizeof(double) ? 1e-12 : single;
}

/// Largest |actual - expected| / (1 + |expected|); NaN or a size mismatch counts as infinite.
inline double max_error(const Values& actual, const Values& expected) {
  if (actual.size() != expected.size()) return std::numeric_limits<double>::infinity();
  double largest = 0;
  for (size_t i = 0; i < actual.size(); ++i) {
    const double error = std::abs(actual[i] - expected[i]) / (1 + std::abs(expected[i]));
    if (!(error <= largest)) largest = error;
    if (std::isnan(error)) return std::numeric_limits<double>::infinity();
  }
  return largest;
}

/// a + b where accumulating, b where overwriting.
inline Values written(const Values& before, const Values& gradient, GradWrite write) {
  Values result = gradient;
  if (write == GradWrite::accumulate)
    for (size_t i = 0; i < result.size(); ++i)
      result[i] += before[i];
  return result;
}

inline constexpr GradWrite kWrites[] = {GradWrite::overwrite, GradWrite::accumulate};

inline double dot(const Values& a, const Values& b) {
  REQUIRE(a.size() == b.size());
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i)
    sum += a[i] * b[i];
  return sum;
}

/// Gradient of function(at) by central differences.
template <class Function>
Values finite_differences(const Function& function, const Values& at, double step = 1e-6) {
  Values gradient(at.size());
  Values x = at;
  for (size_t i = 0; i < at.size(); ++i) {
    x[i] = at[i] + step;
    const double above = function(x);
    x[i] = at[i] - step;
    gradient[i] = (above - function(x)) / (2 * step);
    x[i] = at[i];
  }
  return gradient;
}

/// Sets the number of threads for a scope.
class ThreadCount {
 public:
  explicit ThreadCount(int count) : before_(thread_count()) { set_thread_count(count); }
  ~ThreadCount() { set_thread_count(before_); }
  ThreadCount(const ThreadCount&) = delete;
  ThreadCount& operator=(const ThreadCount&) = delete;

 private:
  int before_;
};

}  // namespace sculpt::kernels::test
