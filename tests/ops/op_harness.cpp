#include "tests/ops/op_harness.h"

#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <memory>
#include <set>

#include "engine/core/random.h"

namespace sculpt::test {

using kernels::ActivationShape;
using kernels::Backend;

namespace {

std::set<std::string>& recorded() {
  static std::set<std::string> ops;
  return ops;
}

// Reads and writes single elements of an activation in any backend's layout.
class Elements {
 public:
  Elements(const Backend& backend, void* data, ActivationShape shape)
      : backend_(backend), data_(data), shape_(shape) {}

  int64_t offset(int64_t n, int64_t c, int64_t y, int64_t x) const {
    const int64_t cell = n / backend_.lanes * shape_.block_stride() + c * shape_.plane_stride() +
                         y * shape_.row_stride() + x;
    return cell * backend_.lanes + n % backend_.lanes;
  }
  double get(int64_t o) const {
    return backend_.element_bytes == 8 ? static_cast<double*>(data_)[o]
                                       : static_cast<float*>(data_)[o];
  }
  void set(int64_t o, double value) {
    if (backend_.element_bytes == 8)
      static_cast<double*>(data_)[o] = value;
    else
      static_cast<float*>(data_)[o] = static_cast<float>(value);
  }
  /// Offsets of all elements in NCHW order.
  std::vector<int64_t> offsets(int64_t batch) const {
    std::vector<int64_t> all;
    for (int64_t n = 0; n < batch; ++n)
      for (int64_t c = 0; c < shape_.channels; ++c)
        for (int64_t y = 0; y < shape_.height; ++y)
          for (int64_t x = 0; x < shape_.width; ++x)
            all.push_back(offset(n, c, y, x));
    return all;
  }
  std::vector<double> read(int64_t batch) const {
    std::vector<double> values;
    for (const int64_t o : offsets(batch))
      values.push_back(get(o));
    return values;
  }
  void write(const std::vector<double>& values, int64_t batch) {
    size_t i = 0;
    for (const int64_t o : offsets(batch))
      set(o, values[i++]);
  }
  /// Whether guard, halo columns and halo rows are all zero.
  bool borders_are_zero(int64_t blocks) const {
    const int64_t guard = shape_.guard_cells();
    for (int64_t cell = -guard; cell < blocks * shape_.block_stride(); ++cell) {
      const int64_t in_plane =
          ((cell % shape_.plane_stride()) + shape_.plane_stride()) % shape_.plane_stride();
      const bool interior = cell >= 0 && in_plane / shape_.row_stride() < shape_.height &&
                            in_plane % shape_.row_stride() < shape_.width;
      if (interior) continue;
      for (int64_t lane = 0; lane < backend_.lanes; ++lane)
        if (get(cell * backend_.lanes + lane) != 0) return false;
    }
    return true;
  }

 private:
  const Backend& backend_;
  void* data_;
  ActivationShape shape_;
};

// The end of a case's graph: L = sum of cotangent * y. Its gradient is the cotangent.
class WeightedSum final : public Node {
 public:
  explicit WeightedSum(Value y) : Node(NodeInfo{"weighted_sum", "weighted_sum", -1, 0}, {y}) {}
  void prepare(const Graph& graph) override {
    backend_ = &graph.backend();
    shape_ = graph.shape(inputs[0]);
    const int64_t cells = shape_.buffer_cells(backend_->blocks(graph.max_batch()));
    memory_ =
        Buffer(static_cast<size_t>(cells * backend_->lanes) * backend_->element_bytes, "test");
  }
  void forward(const Replay&) override {}
  void backward(const Replay& r) override {
    backend_->elementwise.pass_through(r.grad(inputs[0]), cotangent(), shape_, grad_write[0],
                                       r.launch);
  }
  void* cotangent() {
    return memory_.data() +
           static_cast<size_t>(shape_.guard_cells() * backend_->lanes) * backend_->element_bytes;
  }

 private:
  const Backend* backend_ = nullptr;
  ActivationShape shape_;
  Buffer memory_;
};

std::vector<double> random_values(int64_t count, uint64_t salt, double scale, double shift) {
  // Rounded to float, so that both precisions see the same numbers.
  const RandomStream stream(1234, Purpose::test, salt);
  std::vector<double> values;
  for (int64_t i = 0; i < count; ++i)
    values.push_back(static_cast<float>(scale * stream.normal(static_cast<uint64_t>(i)) + shift));
  return values;
}

// One recorded case on one backend.
class Instance {
 public:
  Instance(const OpCase& op, const Backend& backend)
      : op_(op), backend_(backend), graph_(backend, arena_, op.batch) {
    for (const auto& s : op.inputs)
      inputs_.push_back(graph_.input(s.channels, s.height, s.width, true));
    output_ = op.record(graph_, inputs_);
    auto sink = std::make_unique<WeightedSum>(output_);
    sink_ = sink.get();
    graph_.add(std::move(sink), 0, 0, 0);
    arena_.allocate(backend.element_bytes);
    graph_.finish();
    for (const auto& node : graph_.nodes())
      recorded().insert(std::string(node->info.op));

    fill_arena();
    for (size_t i = 0; i < inputs_.size(); ++i) {
      const int64_t count = op.batch * graph_.shape(inputs_[i]).elements_per_image();
      values(inputs_[i])
          .write(random_values(count, 10 + i, op.input_scale, op.input_shift), op.batch);
    }
    const auto& out = graph_.shape(output_);
    Elements(backend_, sink_->cotangent(), out)
        .write(random_values(op.batch * out.elements_per_image(), 99, 1, 0), op.batch);
  }

  double weight(int64_t i) {
    return double_arena() ? arena_.weights<double>()[i] : arena_.weights<float>()[i];
  }
  void set_weight(int64_t i, double value) {
    if (double_arena())
      arena_.weights<double>()[i] = value;
    else
      arena_.weights<float>()[i] = static_cast<float>(value);
  }

  void run() {
    reset_state();
    graph_.forward(op_.mode, op_.batch);
    graph_.backward();
  }

  /// L at the present inputs and weights.
  double loss() {
    reset_state();
    graph_.forward(op_.mode, op_.batch);
    const auto y = outputs();
    const auto r = Elements(backend_, sink_->cotangent(), graph_.shape(output_)).read(op_.batch);
    double sum = 0;
    for (size_t i = 0; i < y.size(); ++i)
      sum += y[i] * r[i];
    return sum;
  }

  std::vector<double> outputs() { return values(output_).read(op_.batch); }
  std::vector<double> input_gradient(size_t i) {
    return Elements(backend_, graph_.replay().grad(inputs_[i]), graph_.shape(inputs_[i]))
        .read(op_.batch);
  }
  std::vector<double> parameter_gradients() {
    std::vector<double> all(static_cast<size_t>(arena_.count()));
    for (size_t i = 0; i < all.size(); ++i)
      all[i] = double_arena() ? arena_.gradients<double>()[i] : arena_.gradients<float>()[i];
    return all;
  }
  Elements values(Value v) { return {backend_, graph_.replay().data(v), graph_.shape(v)}; }
  Value input(size_t i) const { return inputs_[i]; }
  size_t input_count() const { return inputs_.size(); }
  int64_t parameter_count() const { return arena_.count(); }

  void check_borders() {
    const int64_t blocks = backend_.blocks(op_.batch);
    auto check = [&](Value v) {
      CHECK(values(v).borders_are_zero(blocks));
      if (void* grad = graph_.replay().grad(v))
        CHECK(Elements(backend_, grad, graph_.shape(v)).borders_are_zero(blocks));
    };
    for (const Value v : inputs_)
      check(v);
    for (const auto& node : graph_.nodes())
      if (node->output.index >= 0) check(node->output);
  }

 private:
  bool double_arena() const { return backend_.element_bytes == 8; }
  void fill_arena() {
    const auto random = random_values(arena_.count(), 5, 0.5, 0.1);
    for (int64_t i = 0; i < arena_.count(); ++i)
      set_weight(i, random[i]);
  }
  // Running statistics move in every training forward pass; each run starts from the same ones.
  void reset_state() {
    const int64_t count = std::ssize(state_pattern());
    for (int64_t i = 0; i < count; ++i) {
      if (double_arena())
        arena_.state_values<double>()[i] = state_pattern()[i];
      else
        arena_.state_values<float>()[i] = static_cast<float>(state_pattern()[i]);
    }
  }
  const std::vector<double>& state_pattern() {
    if (state_pattern_.empty())
      for (const auto& s : arena_.states())
        for (int64_t i = 0; i < s.count; ++i)
          state_pattern_.push_back(static_cast<float>(s.initial + 0.25 + 0.125 * (i % 3)));
    return state_pattern_;
  }

  const OpCase& op_;
  const Backend& backend_;
  ParameterArena arena_;
  Graph graph_;
  std::vector<Value> inputs_;
  Value output_;
  WeightedSum* sink_ = nullptr;
  std::vector<double> state_pattern_;
};

double relative_difference(const std::vector<double>& a, const std::vector<double>& b) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference += (a[i] - b[i]) * (a[i] - b[i]);
    norm += b[i] * b[i];
  }
  return std::sqrt(difference) / (std::sqrt(norm) + 1e-12);
}

constexpr int64_t kChecksPerTensor = 24;

// Compares analytic[i] with (L(v + h) - L(v - h)) / 2h for a sample of elements.
template <class Get, class Set>
void check_finite_differences(Instance& instance, const std::vector<double>& analytic, Get get,
                              Set set) {
  const int64_t count = std::ssize(analytic);
  const int64_t stride = std::max<int64_t>(1, count / kChecksPerTensor);
  double scale = 0;
  for (const double g : analytic)
    scale = std::max(scale, std::abs(g));
  for (int64_t i = 0; i < count; i += stride) {
    const double h = 1e-5;
    const double value = get(i);
    set(i, value + h);
    const double above = instance.loss();
    set(i, value - h);
    const double below = instance.loss();
    set(i, value);
    const double numeric = (above - below) / (2 * h);
    CAPTURE(i);
    CHECK(std::abs(numeric - analytic[i]) <= 1e-6 * (scale + std::abs(numeric)) + 1e-9);
  }
}

void check_gradients(const OpCase& op) {
  Instance instance(op, kernels::reference_backend());
  instance.run();
  std::vector<std::vector<double>> dx;
  for (size_t i = 0; i < instance.input_count(); ++i)
    dx.push_back(instance.input_gradient(i));
  const auto dw = instance.parameter_gradients();

  for (size_t i = 0; i < instance.input_count(); ++i) {
    CAPTURE(i);
    auto x = instance.values(instance.input(i));
    const auto offsets = x.offsets(op.batch);
    check_finite_differences(
        instance, dx[i], [&](int64_t e) { return x.get(offsets[e]); },
        [&](int64_t e, double value) { x.set(offsets[e], value); });
  }
  check_finite_differences(
      instance, dw, [&](int64_t e) { return instance.weight(e); },
      [&](int64_t e, double value) { instance.set_weight(e, value); });
}

void compare(const OpCase& op, const Backend& backend) {
  CAPTURE(backend.name);
  Instance reference(op, kernels::reference_backend());
  Instance instance(op, backend);
  reference.run();
  instance.run();
  // Float sums of a few thousand terms.
  constexpr double kTolerance = 2e-5;
  CHECK(relative_difference(instance.outputs(), reference.outputs()) < kTolerance);
  for (size_t i = 0; i < instance.input_count(); ++i)
    CHECK(relative_difference(instance.input_gradient(i), reference.input_gradient(i)) <
          kTolerance);
  CHECK(relative_difference(instance.parameter_gradients(), reference.parameter_gradients()) <
        kTolerance);
  instance.check_borders();

  // A replay must not depend on what the first one left behind.
  const auto first = instance.parameter_gradients();
  instance.run();
  CHECK(instance.parameter_gradients() == first);
}

}  // namespace

void check_op(const OpCase& op) {
  CAPTURE(op.name);
  check_gradients(op);
  for (const Backend* backend : kernels::available_cpu_backends())
    compare(op, *backend);
}

std::vector<std::string> checked_ops() {
  return {recorded().begin(), recorded().end()};
}

}  // namespace sculpt::test
