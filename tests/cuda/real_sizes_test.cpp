// Our convolutions at the sizes of real training steps, where a pass has hundreds of splits and the
// large tiles: every result against cuDNN's (against the CPU's where there is no cuDNN, or it
// refuses a pass), and a few results against sums in double. In each precision, or in the one that
// SCULPT_TEST_BACKEND names. On the host layer batches and images are small.

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <doctest/doctest.h>
#include <string>

#include "kernels/tuning/chooser.h"
#include "tests/cuda/real_layers.h"
#include "tests/cuda/sum_bounds.h"
#include "tests/support/more_backends.h"

namespace {

using namespace sculpt::kernels;
using namespace sculpt::kernels::test;
using namespace sculpt::test;
using sculpt::Buffer;

// No block of the project's kernels adds up more products at these sizes, because longer sums are
// split.
constexpr int64_t kLongestChain = 8192;

/// Compares the sums that the forward pass leaves for batch norm with sums of the stored output.
void check_channel_sums(const Backend& backend, const ChannelSums& sums, size_t channels,
                        const Floats& y) {
  REQUIRE(sums.chunks > 0);
  const auto chunks = static_cast<size_t>(sums.chunks);
  Values partials(2 * channels * chunks);
  backend.memory->copy_out(partials.data(), sums.partials, partials.size() * sizeof(double));
  Values sum(channels), magnitude(channels), squares(channels);
  for (size_t i = 0; i < y.size(); ++i) {
    const auto value = static_cast<double>(y[i]);
    sum[i % channels] += value;
    magnitude[i % channels] += std::abs(value);
    squares[i % channels] += value * value;
  }
  // A warp adds up to 64 elements in float, each less one of them: 128 magnitudes, 256 squares.
  constexpr double kError = 128 * kFloatUnit;
  double worst = 0;
  for (size_t c = 0; c < channels; ++c) {
    double left = sum[c], squares_left = squares[c];
    for (size_t i = c * chunks; i < (c + 1) * chunks; ++i) {
      left -= partials[2 * i];
      squares_left -= partials[2 * i + 1];
    }
    for (const double error : {left / magnitude[c], squares_left / (2 * squares[c])})
      if (!(std::abs(error) <= worst * kError)) worst = std::abs(error) / kError;
  }
  fmt::print("    channel sums in {} chunks: worst error {:.2g} of its bound\n", chunks, worst);
  CHECK(worst <= 1);
}

/// Runs a pass on a GPU. The arrays have the orders of LayerProblem.
Floats run_on_device(const Backend& backend, const LayerProblem& p, ConvPass pass) {
  const Launch launch = make_launch(backend, p.layer.batch);
  const size_t element = backend.activation_bytes;
  DeviceScratch scratch(backend, backend.conv2d.workspace_bytes(p.shape, p.layer.batch));
  const auto result = [&](int64_t count, size_t element_bytes) {
    Buffer buffer(static_cast<size_t>(count) * element_bytes, "a test's array", backend.memory);
    backend.memory->zero(buffer.data(), buffer.bytes());
    return buffer;
  };
  if (pass == ConvPass::weight_grad) {
    const Buffer dy = to_device(backend, p.dy, element), x = to_device(backend, p.x, element);
    Buffer dweight = result(p.shape.weight_count(), sizeof(float));
    backend.conv2d.weight_grad({.dweight = dweight.data(),
                                .dy = dy.data(),
                                .x = x.data(),
                                .workspace = scratch.data(),
                                .launch = launch},
                               p.shape);
    return from_device(backend, dweight, sizeof(float));
  }
  const Buffer weight = to_device(backend, p.weight, backend.compute_weight_bytes);
  if (pass == ConvPass::input_grad) {
    const Buffer dy = to_device(backend, p.dy, element);
    Buffer dx = result(std::ssize(p.x), element);
    backend.conv2d.input_grad({.dx = dx.data(),
                               .dy = dy.data(),
                               .weight = weight.data(),
                               .workspace = scratch.data(),
                               .launch = launch},
                              p.shape);
    return from_device(backend, dx, element);
  }
  const Buffer x = to_device(backend, p.x, element);
  Buffer y = result(std::ssize(p.dy), element);
  const size_t sums_bytes = backend.conv2d.output_sums_bytes(p.shape, p.layer.batch);
  DeviceScratch partials(backend, sums_bytes);
  ChannelSums sums = {static_cast<double*>(partials.data())};
  backend.conv2d.forward({.y = y.data(),
                          .x = x.data(),
                          .weight = weight.data(),
                          .sums = sums_bytes > 0 ? &sums : nullptr,
                          .workspace = scratch.data(),
                          .launch = launch},
                         p.shape);
  Floats values = from_device(backend, y, element);
  if (sums_bytes > 0)
    check_channel_sums(backend, sums, static_cast<size_t>(p.shape.out.channels), values);
  return values;
}

/// [n][c][place] from [n][place][c].
Values channels_first(const Floats& values, int64_t channels, int64_t places) {
  Values result(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    const auto at = static_cast<int64_t>(i);
    const int64_t c = at % channels, place = at / channels % places, n = at / channels / places;
    result[static_cast<size_t>((n * channels + c) * places + place)] =
        static_cast<double>(values[i]);
  }
  return result;
}

Floats channels_last(const Values& values, int64_t channels, int64_t places) {
  Floats result(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    const auto at = static_cast<int64_t>(i);
    const int64_t place = at % places, c = at / places % channels, n = at / places / channels;
    result[static_cast<size_t>((n * places + place) * channels + c)] =
        static_cast<float>(values[i]);
  }
  return result;
}

/// A pass on the CPU.
Floats run_on_cpu(const LayerProblem& p, ConvPass pass) {
  const Backend& backend = cpu_backend();
  const Launch launch = make_launch(backend, p.layer.batch);
  const ActivationShape &in = p.shape.in, &out = p.shape.out;
  DeviceScratch scratch(backend, backend.conv2d.workspace_bytes(p.shape, p.layer.batch));
  Array weight(backend, channels_first(p.weight, in.channels, p.shape.kernel_h * p.shape.kernel_w));
  const auto activation = [&](const ActivationShape& shape, const Floats& values) {
    return make_activation(backend, shape, launch,
                           channels_first(values, shape.channels, shape.height * shape.width), 0);
  };
  Activation x = activation(in, p.x), dy = activation(out, p.dy);
  switch (pass) {
    case ConvPass::forward:  // dy's place takes y
      backend.conv2d.forward({.y = dy.data(),
                              .x = x.data(),
                              .weight = weight.data(),
                              .workspace = scratch.data(),
                              .launch = launch},
                             p.shape);
      return channels_last(dy.nchw(), out.channels, out.height * out.width);
    case ConvPass::input_grad:
      backend.conv2d.input_grad({.dx = x.data(),
                                 .dy = dy.data(),
                                 .weight = weight.data(),
                                 .workspace = scratch.data(),
                                 .launch = launch},
                                p.shape);
      return channels_last(x.nchw(), in.channels, in.height * in.width);
    case ConvPass::weight_grad:
      break;
  }
  backend.conv2d.weight_grad({.dweight = weight.data(),
                              .dy = dy.data(),
                              .x = x.data(),
                              .workspace = scratch.data(),
                              .launch = launch},
                             p.shape);
  Floats result;
  for (const double value : weight.values())
    result.push_back(static_cast<float>(value));
  return result;
}

/// Computes one result of a pass in double.
double exact_result(const LayerProblem& p, ConvPass pass, int64_t index) {
  const Conv2dShape& s = p.shape;
  double sum = 0;
  const auto add = [&](int64_t n, int64_t i, int64_t j, int64_t r, int64_t q, int64_t o,
                       int64_t c) {
    const int64_t y = i * s.stride - s.padding + r, x = j * s.stride - s.padding + q;
    if (y < 0 || y >= s.in.height || x < 0 || x >= s.in.width) return;
    const auto at_x =
        static_cast<size_t>(((n * s.in.height + y) * s.in.width + x) * s.in.channels + c);
    const auto at_y =
        static_cast<size_t>(((n * s.out.height + i) * s.out.width + j) * s.out.channels + o);
    const auto at_w =
        static_cast<size_t>(((o * s.kernel_h + r) * s.kernel_w + q) * s.in.channels + c);
    const float a = pass == ConvPass::forward ? p.x[at_x] : p.dy[at_y];
    const float b = pass == ConvPass::weight_grad ? p.x[at_x] : p.weight[at_w];
    sum += static_cast<double>(a) * static_cast<double>(b);
  };
  if (pass == ConvPass::weight_grad) {  // [o][c][r][q]
    const int64_t q = index % s.kernel_w, r = index / s.kernel_w % s.kernel_h;
    const int64_t c = index / s.kernel_w / s.kernel_h % s.in.channels;
    const int64_t o = index / s.kernel_w / s.kernel_h / s.in.channels;
    for (int64_t n = 0; n < p.layer.batch; ++n)
      for (int64_t i = 0; i < s.out.height; ++i)
        for (int64_t j = 0; j < s.out.width; ++j)
          add(n, i, j, r, q, o, c);
    return sum;
  }
  const ActivationShape& shape = pass == ConvPass::forward ? s.out : s.in;
  const int64_t channel = index % shape.channels, column = index / shape.channels % shape.width;
  const int64_t row = index / shape.channels / shape.width % shape.height;
  const int64_t n = index / shape.elements_per_image();
  for (int64_t r = 0; r < s.kernel_h; ++r)
    for (int64_t q = 0; q < s.kernel_w; ++q) {
      if (pass == ConvPass::forward) {
        for (int64_t c = 0; c < s.in.channels; ++c)
          add(n, row, column, r, q, channel, c);
        continue;
      }
      const int64_t i = row + s.padding - r, j = column + s.padding - q;
      if (i < 0 || j < 0 || i % s.stride != 0 || j % s.stride != 0) continue;
      if (i / s.stride >= s.out.height || j / s.stride >= s.out.width) continue;
      for (int64_t o = 0; o < s.out.channels; ++o)
        add(n, i / s.stride, j / s.stride, r, q, o, channel);
    }
  return sum;
}

/// Returns the rounding error of stored results, relative to a result: activations are stored in
/// bf16, weight gradients in float.
double rounding_of_results(const std::string& precision, ConvPass pass) {
  return precision == "bf16" && pass != ConvPass::weight_grad ? kBf16Unit : kFloatUnit;
}

/// The largest error in units of its bound, which is `absolute` and `relative` times the value.
class Worst {
 public:
  Worst(double absolute, double relative) : absolute_(absolute), relative_(relative) {}

  void compare(double actual, double expected) {
    const double bound = absolute_ + relative_ * std::abs(expected);
    const double error = std::abs(actual - expected);
    if (error / bound <= of_bound) return;  // not if it is NaN
    of_bound = std::isfinite(error) ? error / bound : HUGE_VAL;
    text = fmt::format("{:.2g} of its bound ({:.6g} for {:.6g})", of_bound, actual, expected);
  }

  double of_bound = 0;
  std::string text = "none";

 private:
  double absolute_, relative_;
};

/// Returns true if the library refused a pass, so that the project's own kernels ran.
bool was_refused(const LayerProblem& p, ConvPass pass) {
  const Choices& choices = choices_for_cudnn();
  const auto found = choices.find(p.name(pass));
  REQUIRE(found != choices.end());
  return found->second != Choice::library;
}

/// Compares every result with that of `library`, or of the CPU if `library` is null.
void check_all_results(const Floats& results, const Backend* library, const LayerProblem& p,
                       ConvPass pass) {
  Floats expected;
  if (library != nullptr) expected = run_on_device(*library, p, pass);
  const bool on_cpu = library == nullptr || was_refused(p, pass);
  if (on_cpu) expected = run_on_cpu(p, pass);
  REQUIRE(results.size() == expected.size());
  // The other engine may add all products in one chain, and round every result of bf16 to that.
  const int64_t length = p.length(pass);
  const double error = sum_error(p.precision, length, kLongestChain) +
                       sum_error(on_cpu ? "fp32" : p.precision, length, length);
  const double rounding = rounding_of_results(p.precision, pass) +
                          (p.precision == "bf16" && !on_cpu ? kBf16Unit : kFloatUnit);
  Worst worst(error, rounding);
  for (size_t i = 0; i < results.size(); ++i)
    worst.compare(static_cast<double>(results[i]), static_cast<double>(expected[i]));
  fmt::print("    worst error against {} {}\n", on_cpu ? "the CPU" : "the library", worst.text);
  CHECK(worst.of_bound <= 1);
}

/// Compares a few results with sums in double.
void check_samples(const Floats& results, const LayerProblem& p, ConvPass pass) {
  constexpr uint64_t kSamples = 64;
  Worst worst(sum_error(p.precision, p.length(pass), kLongestChain),
              rounding_of_results(p.precision, pass));
  for (uint64_t k = 0; k < kSamples; ++k) {
    const double place = sculpt::philox_uniform(sculpt::philox4x32(4, k, 0)[0]);
    const size_t index = std::min(static_cast<size_t>(place * static_cast<double>(results.size())),
                                  results.size() - 1);
    worst.compare(static_cast<double>(results[index]),
                  exact_result(p, pass, static_cast<int64_t>(index)));
  }
  fmt::print("    worst error against double {}\n", worst.text);
  CHECK(worst.of_bound <= 1);
}

void check_pass(const Backend& native, const Backend* library, const LayerProblem& p,
                ConvPass pass) {
  CAPTURE(p.name(pass));
  fmt::print("{} {}\n", p.layer.network, p.name(pass));
  const Floats results = run_on_device(native, p, pass);
  check_samples(results, p, pass);
  check_all_results(results, library, p, pass);
#if defined(SCULPT_CUDA_ON_HOST)  // What a GPU without cuDNN is compared with.
  check_all_results(results, nullptr, p, pass);
#endif
}

const Backend* find_backend(const std::string& name) {
  for (const Backend* backend : more_backends(name))
    if (backend->name == name) return backend;
  FAIL("there is no backend " << name);
  return nullptr;
}

/// Returns null if there is no library.
const Backend* find_library(const std::string& precision) {
  try {
    return find_backend("cuda-" + precision + "-cudnn");
  } catch (const sculpt::Error& error) {
    fmt::print("without cuDNN ({}): compared with the CPU\n", error.what());
    return nullptr;
  }
}

bool is_wanted(const std::string& precision) {
  const char* const name = std::getenv("SCULPT_TEST_BACKEND");
  return name == nullptr || *name == '\0' || std::string(name).find(precision) != std::string::npos;
}

template <size_t count>
void check_layers(const Layer (&layers)[count]) {
  for (const char* const name : {"bf16", "tf32", "fp32"}) {
    const std::string precision = name;
    if (!is_wanted(precision)) continue;
    const Backend& native = *find_backend("cuda-" + precision);
    const Backend* const library = find_library(precision);
    for (const Layer& layer : layers) {
      const LayerProblem problem(layer, precision);
      for (const ConvPass pass : kConvPasses) {
        // Images have no gradient.
        if (pass == ConvPass::input_grad && layer.in == 3) continue;
        check_pass(native, library, problem, pass);
      }
    }
  }
}

TEST_CASE("real sizes: ResNet-20, batch 512") {
  check_layers(kResNet20);
}

TEST_CASE("real sizes: ResNet-18, batch 512") {
  check_layers(kResNet18);
}

TEST_CASE("real sizes: ResNet-50, batch 128, 224 x 224") {
  check_layers(kResNet50);
}

}  // namespace
