#include "tests/ops/op_harness.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <doctest/doctest.h>
#include <memory>

#include "engine/core/random.h"
#include "tests/support/comparison.h"
#include "tests/support/device_array.h"
#include "tests/support/tested_backends.h"

namespace sculpt::test {

using kernels::ActivationShape;
using kernels::Backend;
using testing::relative_error;

namespace {

// Reads and writes an activation in any backend's layout and memory.
class Elements {
 public:
  Elements(const Backend& backend, void* data, ActivationShape shape)
      : backend_(backend), data_(data), shape_(shape) {}

  /// All pixels in NCHW order.
  std::vector<double> read(int64_t batch) const {
    const DeviceCells cells = fetch(batch);
    std::vector<double> values;
    for (const int64_t o : offsets(batch))
      values.push_back(cells.get(o));
    return values;
  }
  void write(const std::vector<double>& values, int64_t batch) {
    DeviceCells cells = fetch(batch);
    size_t i = 0;
    for (const int64_t o : offsets(batch))
      cells.set(o, values[i++]);
    send(cells);
  }
  /// Returns true if the guard, the halo columns and the halo rows are all zero.
  bool borders_are_zero(int64_t batch) const {
    DeviceCells cells = fetch(batch);
    for (const int64_t o : offsets(backend_.blocks(batch) * backend_.lanes))
      cells.set(o, 0);
    for (int64_t o = -guard(); o < cells.count() - guard(); ++o)
      if (cells.get(o) != 0) return false;
    return true;
  }

 private:
  // A copy in host memory; elements counted from the first pixel.
  class DeviceCells {
   public:
    DeviceCells(size_t element_bytes, int64_t count, int64_t guard)
        : element_bytes_(element_bytes),
          guard_(guard),
          bytes_(static_cast<size_t>(count) * element_bytes) {}
    std::vector<std::byte>& bytes() { return bytes_; }
    int64_t count() const { return std::ssize(bytes_) / static_cast<int64_t>(element_bytes_); }
    double get(int64_t o) const { return read_element(at(o), element_bytes_); }
    void set(int64_t o, double value) {
      write_element(const_cast<std::byte*>(at(o)), element_bytes_, value);
    }

   private:
    const std::byte* at(int64_t o) const {
      return bytes_.data() + static_cast<size_t>(o + guard_) * element_bytes_;
    }
    size_t element_bytes_;
    int64_t guard_;
    std::vector<std::byte> bytes_;
  };

  int64_t guard() const { return shape_.guard_cells() * backend_.lanes; }
  std::byte* start() const {
    return static_cast<std::byte*>(data_) -
           static_cast<size_t>(guard()) * backend_.activation_bytes;
  }
  DeviceCells fetch(int64_t batch) const {
    DeviceCells cells(backend_.activation_bytes,
                      shape_.buffer_cells(backend_.blocks(batch)) * backend_.lanes, guard());
    if (backend_.memory)
      backend_.memory->copy_out(cells.bytes().data(), start(), cells.bytes().size());
    else
      std::memcpy(cells.bytes().data(), start(), cells.bytes().size());
    return cells;
  }
  void send(DeviceCells& cells) {
    if (backend_.memory)
      backend_.memory->copy_in(start(), cells.bytes().data(), cells.bytes().size());
    else
      std::memcpy(start(), cells.bytes().data(), cells.bytes().size());
  }
  int64_t offset(int64_t n, int64_t c, int64_t y, int64_t x) const {
    if (backend_.layout == kernels::Layout::nhwc)
      return ((n * shape_.height + y) * shape_.width + x) * shape_.channels + c;
    const int64_t cell = n / backend_.lanes * shape_.block_stride() + c * shape_.plane_stride() +
                         y * shape_.row_stride() + x;
    return cell * backend_.lanes + n % backend_.lanes;
  }
  std::vector<int64_t> offsets(int64_t batch) const {
    std::vector<int64_t> all;
    for (int64_t n = 0; n < batch; ++n)
      for (int64_t c = 0; c < shape_.channels; ++c)
        for (int64_t y = 0; y < shape_.height; ++y)
          for (int64_t x = 0; x < shape_.width; ++x)
            all.push_back(offset(n, c, y, x));
    return all;
  }

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
    memory_ = Buffer(static_cast<size_t>(cells * backend_->lanes) * backend_->activation_bytes,
                     "test", backend_->memory);
  }
  void forward(const Replay&) override {}
  void backward(const Replay& r) override {
    backend_->elementwise.pass_through(r.grad(inputs[0]), cotangent(), shape_, grad_write[0],
                                       r.launch);
  }
  void* cotangent() {
    return memory_.data() +
           static_cast<size_t>(shape_.guard_cells() * backend_->lanes) * backend_->activation_bytes;
  }

 private:
  const Backend* backend_ = nullptr;
  ActivationShape shape_;
  Buffer memory_;
};

std::vector<double> random_values(int64_t count, uint64_t salt, double scale, double shift) {
  // Rounded, so that all precisions see the same numbers.
  const RandomStream stream(1234, Purpose::test, salt);
  std::vector<double> values;
  for (int64_t i = 0; i < count; ++i)
    values.push_back(representable(scale * stream.normal(static_cast<uint64_t>(i)) + shift));
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
    arena_.allocate(backend);
    graph_.finish();
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
      arena_.edit_weights<double>()[i] = value;
    else
      arena_.edit_weights<float>()[i] = static_cast<float>(value);
  }

  void run() {
    reset_state();
    graph_.forward(op_.mode, op_.batch);
    outputs_ = present_outputs();  // backward() may reuse their memory
    graph_.backward();
  }

  /// L at the present inputs and weights.
  double loss() {
    reset_state();
    graph_.forward(op_.mode, op_.batch);
    const auto y = present_outputs();
    const auto r = Elements(backend_, sink_->cotangent(), graph_.shape(output_)).read(op_.batch);
    double sum = 0;
    for (size_t i = 0; i < y.size(); ++i)
      sum += y[i] * r[i];
    return sum;
  }

  /// The outputs of the last run().
  const std::vector<double>& outputs() const { return outputs_; }
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
  /// The names of the ops that the case records. The last node is the harness's own.
  std::set<std::string> ops() const {
    std::set<std::string> names;
    for (size_t n = 0; n < op_count(); ++n)
      names.emplace(graph_.nodes()[n]->info.op);
    return names;
  }
  /// The number of ops that the case records.
  size_t op_count() const { return graph_.nodes().size() - 1; }

  void check_borders() {
    auto check = [&](Value v) {
      CHECK(values(v).borders_are_zero(op_.batch));
      if (void* grad = graph_.replay().grad(v))
        CHECK(Elements(backend_, grad, graph_.shape(v)).borders_are_zero(op_.batch));
    };
    for (const Value v : inputs_)
      check(v);
    for (const auto& node : graph_.nodes())
      if (node->output.index >= 0) check(node->output);
  }

 private:
  bool double_arena() const { return backend_.parameter_bytes == 8; }
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
        arena_.edit_state_values<double>()[i] = state_pattern()[i];
      else
        arena_.edit_state_values<float>()[i] = static_cast<float>(state_pattern()[i]);
    }
  }
  const std::vector<double>& state_pattern() {
    if (state_pattern_.empty())
      for (const auto& s : arena_.states())
        for (int64_t i = 0; i < s.count; ++i)
          state_pattern_.push_back(static_cast<float>(s.initial + 0.25 + 0.125 * (i % 3)));
    return state_pattern_;
  }

  std::vector<double> present_outputs() { return values(output_).read(op_.batch); }

  const OpCase& op_;
  const Backend& backend_;
  ParameterArena arena_;
  Graph graph_;
  std::vector<Value> inputs_;
  Value output_;
  WeightedSum* sink_ = nullptr;
  std::vector<double> state_pattern_, outputs_;
};

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
    std::vector<double> values = x.read(op.batch);
    check_finite_differences(
        instance, dx[i], [&](int64_t e) { return values[e]; },
        [&](int64_t e, double value) {
          values[e] = value;
          x.write(values, op.batch);
        });
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
  double allowed = product_tolerance(backend, 2e-5);
  // If several ops follow one another in bf16, a few rounded values fall on the other side of a
  // ReLU, and whole terms of these small sums change.
  if (backend.activation_bytes == 2 && instance.op_count() > 1) allowed = 0.15;
  CHECK(relative_error(instance.outputs(), reference.outputs()) < allowed);
  for (size_t i = 0; i < instance.input_count(); ++i)
    CHECK(relative_error(instance.input_gradient(i), reference.input_gradient(i)) < allowed);
  CHECK(relative_error(instance.parameter_gradients(), reference.parameter_gradients()) < allowed);
  instance.check_borders();

  // A second replay must not depend on what the first replay left in memory.
  const auto first = instance.parameter_gradients();
  instance.run();
  CHECK(instance.parameter_gradients() == first);
}

}  // namespace

void check_ops(const std::vector<OpCase>& cases) {
  for (const OpCase& op : cases) {
    CAPTURE(op.name);
    check_gradients(op);
    for (const Backend* backend : tested_backends())
      compare(op, *backend);
  }
}

std::set<std::string> ops_of(const OpCase& op) {
  return Instance(op, kernels::reference_backend()).ops();
}

}  // namespace sculpt::test
