#pragma once
// Moves plain NCHW numbers into and out of a backend's activation layout. The frame of an
// activation (halo, guard, and words beyond both ends) holds NaN: a kernel that reads the frame
// poisons its result, and frame_intact() finds a kernel that writes it. For kernels that read the
// halo, zero_frame() fills the frame with zeros instead.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <limits>
#include <string>
#include <vector>

#include "kernels/common/parallel.h"
#include "kernels/common/philox.h"
#include "kernels/device/backend.h"
#include "tests/support/device_array.h"
#include "tests/support/needs.h"
#include "tests/support/tested_backends.h"

namespace sculpt::kernels::test {

using Values = std::vector<double>;

using sculpt::test::DeviceCopy;
using sculpt::test::DeviceScratch;
using sculpt::test::needs_channel_sums;
using sculpt::test::needs_conv_library;
using sculpt::test::needs_cpu;
using sculpt::test::needs_gpu;
using sculpt::test::needs_joint_passes;
using sculpt::test::parameter_tolerance;
using sculpt::test::product_tolerance;
using sculpt::test::representable;
using sculpt::test::tested_backends;
using sculpt::test::tolerance;

/// The tested backends, then the reference backend.
inline std::vector<const Backend*> all_backends() {
  std::vector<const Backend*> backends = tested_backends();
  backends.push_back(&reference_backend());
  return backends;
}

inline Launch make_launch(const Backend& backend, int64_t batch) {
  return {batch, backend.stream};
}

/// Uniform in [-scale, scale), exactly representable in every tested backend.
inline Values random_values(int64_t count, uint64_t seed, double scale = 1) {
  Values values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = representable(scale * (2.0 * philox_uniform(philox4x32(seed, i, 0)[0]) - 1));
  return values;
}

/// Numbers in a backend's parameter type, or in another one of its types.
class Array {
 public:
  Array(const Backend& backend, const Values& values)
      : Array(backend, backend.parameter_bytes, values) {}
  Array(const Backend& backend, size_t element_bytes, const Values& values)
      : elements_(backend, element_bytes, values.size()) {
    for (size_t i = 0; i < values.size(); ++i)
      elements_.set(i, values[i]);
  }

  void* data() { return elements_.device(); }
  size_t size() const { return elements_.size(); }
  double get(size_t i) const { return elements_.get(i); }
  void set(size_t i, double value) { elements_.set(i, value); }
  Values values() const {
    Values values(size());
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = get(i);
    return values;
  }

 private:
  sculpt::test::DeviceArray elements_;
};

/// Images of one shape.
struct ActivationCase {
  int64_t batch;
  ActivationShape shape;

  std::string name() const {
    return fmt::format("batch {} of {}x{}x{} halo {}", batch, shape.channels, shape.height,
                       shape.width, shape.halo);
  }
  int64_t count() const { return batch * shape.elements_per_image(); }
  int64_t per_channel() const { return batch * shape.height * shape.width; }
  size_t channel(int64_t nchw_index) const {
    return static_cast<size_t>(nchw_index / (shape.height * shape.width) % shape.channels);
  }
};

/// One activation or activation gradient.
class Activation {
 public:
  static constexpr int64_t kMargin = 64;  // words beyond both ends of the buffer
  static constexpr double kUnwritten = 4096.0;

  /// Padded lanes get `padded`: any finite number for values, 0 for gradients.
  Activation(const Backend& backend, const ActivationShape& shape, const Launch& launch,
             const Values& nchw, double padded)
      : shape_(without_halo_in_nhwc(backend, shape)),
        layout_(backend.layout),
        batch_(launch.batch),
        lanes_(backend.lanes),
        element_bytes_(backend.activation_bytes),
        cells_(
            backend, backend.activation_bytes,
            Values(static_cast<size_t>(words(backend)), std::numeric_limits<double>::quiet_NaN())) {
    REQUIRE(nchw.size() == static_cast<size_t>(batch_ * shape.elements_per_image()));
    size_t next = 0;
    for_each_pixel(padded_batch(),
                   [&](int64_t n, size_t i) { cells_.set(i, n < batch_ ? nchw[next++] : padded); });
  }

  /// An output: holds a recognisable number until it is written.
  Activation(const Backend& backend, const ActivationShape& shape, const Launch& launch)
      : Activation(
            backend, shape, launch,
            Values(static_cast<size_t>(launch.batch * shape.elements_per_image()), kUnwritten),
            kUnwritten) {}

  void* data() {
    return static_cast<std::byte*>(cells_.data()) + origin() * static_cast<int64_t>(element_bytes_);
  }

  Values nchw() const {
    Values values;
    for_each_pixel(batch_, [&](int64_t, size_t i) { values.push_back(cells_.get(i)); });
    return values;
  }

  /// Counts the elements of an output that were written.
  int64_t written() const {
    int64_t count = 0;
    for_each_pixel(batch_, [&](int64_t, size_t i) { count += cells_.get(i) != kUnwritten; });
    return count;
  }

  /// Returns true if only pixels were written. NaN compares unequal to everything that kernels
  /// write.
  bool frame_intact() const {
    Values cells = cells_.values();
    for_each_pixel(padded_batch(), [&](int64_t, size_t i) { cells[i] = std::nan(""); });
    return std::ranges::all_of(cells, [](double cell) { return std::isnan(cell); });
  }

  /// The frame holds zeros from now on, for kernels that read the halo.
  void zero_frame() {
    std::vector<bool> pixel(cells_.size());
    for_each_pixel(padded_batch(), [&](int64_t, size_t i) { pixel[i] = true; });
    for (size_t i = 0; i < pixel.size(); ++i)
      if (!pixel[i]) cells_.set(i, 0);
  }
  bool frame_is_zero() const {
    Values cells = cells_.values();
    for_each_pixel(padded_batch(), [&](int64_t, size_t i) { cells[i] = 0; });
    return std::ranges::all_of(cells, [](double cell) { return cell == 0; });
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
          for (int64_t x = 0; x < shape_.width; ++x)
            body(n, static_cast<size_t>(origin() + offset(n, c, y, x)));
  }

  int64_t offset(int64_t n, int64_t c, int64_t y, int64_t x) const {
    if (layout_ == Layout::nhwc)
      return ((n * shape_.height + y) * shape_.width + x) * shape_.channels + c;
    const int64_t cell = n / lanes_ * shape_.block_stride() + c * shape_.plane_stride() +
                         y * shape_.row_stride() + x;
    return cell * lanes_ + n % lanes_;
  }

  static ActivationShape without_halo_in_nhwc(const Backend& backend, ActivationShape shape) {
    if (backend.layout == Layout::nhwc) shape.halo = 0;
    return shape;
  }

  ActivationShape shape_;
  Layout layout_;
  int64_t batch_;
  int64_t lanes_;
  size_t element_bytes_;
  Array cells_;
};

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

/// Largest difference in units of the largest expected magnitude; NaN counts as infinite.
inline double relative_error(const Values& actual, const Values& expected) {
  double scale = 1e-30;
  double worst = 0.0;
  for (size_t i = 0; i < expected.size(); ++i) {
    scale = std::max(scale, std::abs(expected[i]));
    const double error = std::abs(actual[i] - expected[i]);
    if (!std::isfinite(error)) return std::numeric_limits<double>::infinity();
    worst = std::max(worst, error);
  }
  return worst / scale;
}

/// The weight [out][in][taps] of a convolution or linear layer as its kernels read it: the compute
/// copy [out][taps][in] where the backend has one.
inline Array packed_weight(const Backend& backend, const Values& weight, int64_t in, int64_t taps) {
  if (backend.compute_weight_bytes == 0) return Array(backend, weight);
  Values packed(weight.size());
  for (size_t i = 0; i < weight.size(); ++i) {
    const auto index = static_cast<int64_t>(i);
    const int64_t tap = index % taps, c = index / taps % in, o = index / taps / in;
    packed[static_cast<size_t>((o * taps + tap) * in + c)] = weight[i];
  }
  return {backend, backend.compute_weight_bytes, packed};
}

/// Returns before + gradient if `write` accumulates, or else gradient.
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
