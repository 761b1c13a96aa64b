// Properties of block schedules, checked on random graphs. A schedule is executed on row numbers
// instead of numbers: the test notes which rows of which activations and gradients exist in memory
// and in scratch, and every step must find what it reads.

#include <algorithm>
#include <doctest/doctest.h>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "engine/autograd/blocks/schedule.h"

namespace sculpt {
namespace {

using kernels::RowRange;

struct RandomGraph {
  std::vector<ScheduledNode> nodes;
  std::vector<ScheduledValue> values;
  std::vector<std::vector<int>> consumers;  ///< per value: nodes, each once
  std::vector<int> producer;                ///< per value: a node, or -1
};

/// Builds graphs of convolutions, batch norms with and without a residual, elementwise nodes, and
/// nodes that run on whole batches only. The last node is a loss, which reads every value that
/// nothing else reads.
class GraphBuilder {
 public:
  explicit GraphBuilder(uint64_t seed) : random_(seed) {}

  RandomGraph build() {
    add_value(below(2) ? 16 : 12);
    for (int64_t count = 2 + below(9); count > 0; --count)
      add_node();
    ScheduledNode loss;
    for (size_t v = 0; v < graph_.values.size(); ++v)
      if (graph_.consumers[v].empty()) loss.inputs.push_back(static_cast<int>(v));
    loss.backward_reads = loss.inputs;
    add(loss);
    return graph_;
  }

 private:
  int64_t below(int64_t limit) {
    return static_cast<int64_t>(random_() % static_cast<uint64_t>(limit));
  }

  int add_value(int64_t rows) {
    constexpr int64_t kBytes[] = {1024, int64_t{600} << 10, int64_t{4} << 20};
    const int64_t block_bytes = kBytes[below(3)];
    // Values of equal planes have equal bands (kernels::band_rows).
    const int64_t band = bands_.emplace(rows, int64_t{1} << below(3)).first->second;
    graph_.values.push_back({rows, band, block_bytes, 4 * block_bytes});
    graph_.consumers.emplace_back();
    graph_.producer.push_back(-1);
    return static_cast<int>(graph_.values.size()) - 1;
  }

  void add(const ScheduledNode& node) {
    const auto n = static_cast<int>(graph_.nodes.size());
    for (const int v : std::set<int>(node.inputs.begin(), node.inputs.end()))
      graph_.consumers[static_cast<size_t>(v)].push_back(n);
    if (node.output >= 0) graph_.producer[static_cast<size_t>(node.output)] = n;
    graph_.nodes.push_back(node);
  }

  /// Returns mostly the newest value, so that chains form.
  int any_value() {
    const auto count = static_cast<int64_t>(graph_.values.size());
    return static_cast<int>(below(3) ? count - 1 : below(count));
  }
  int64_t rows_of(int value) const { return graph_.values[static_cast<size_t>(value)].rows; }

  void add_node() {
    ScheduledNode node;
    const int x = any_value();
    node.inputs = node.backward_reads = {x};
    switch (below(7)) {
      case 0:  // runs on whole batches only
        node.output = add_value(rows_of(x));
        break;
      case 1:  // an elementwise node
        node.on_blocks = node.can_recompute = true;
        node.output = add_value(rows_of(x));
        break;
      case 2:
      case 3:
      case 4: {
        node.on_blocks = node.sums = true;
        std::vector<int> residuals;
        for (size_t v = 0; v < graph_.values.size(); ++v)
          if (static_cast<int>(v) != x && rows_of(static_cast<int>(v)) == rows_of(x))
            residuals.push_back(static_cast<int>(v));
        if (!residuals.empty() && below(2))
          node.inputs.push_back(residuals[static_cast<size_t>(below(std::ssize(residuals)))]);
        node.can_recompute = node.inputs.size() == 1;
        node.output = add_value(rows_of(x));
        break;
      }
      default:
        node.on_blocks = node.weight_grad = true;
        node.window.kernel = 1 + 2 * below(3);
        node.window.stride = rows_of(x) > 2 ? 1 + below(2) : 1;
        node.window.padding = node.window.kernel / 2;
        node.output = add_value((rows_of(x) - 1) / node.window.stride + 1);
    }
    add(node);
  }

  std::mt19937_64 random_;
  std::map<int64_t, int64_t> bands_;  // of values with this many rows
  RandomGraph graph_;
};

/// The rows of an activation or a gradient. For each row, the nodes that have written it, in order.
struct Rows {
  std::vector<std::vector<int>> writers;

  explicit Rows(int64_t rows) : writers(static_cast<size_t>(rows)) {}
  void clear() {
    for (auto& row : writers)
      row.clear();
  }
};

/// Executes a schedule on row numbers and describes everything that is wrong with it.
class Execution {
 public:
  explicit Execution(const RandomGraph& graph)
      : graph_(graph), ran_(graph.nodes.size()), summed_(graph.nodes.size()) {
    for (const ScheduledValue& value : graph.values) {
      data_.emplace_back(value.rows);
      gradients_.emplace_back(value.rows);
    }
    for (auto& row : data_[0].writers)
      row.push_back(-1);  // the images are in memory
  }

  void forward(const std::vector<StepGroup>& groups) {
    forward_ = true;
    run_groups(groups);
    for (size_t n = 0; n < ran_.size(); ++n)
      expect(ran_[n] == 1, "forward", "does not run once", static_cast<int>(n));
  }

  void backward(const std::vector<StepGroup>& groups) {
    forward_ = false;
    std::ranges::fill(ran_, 0);
    std::ranges::fill(summed_, 0);
    weight_grads_ = 0;
    run_groups(groups);
    for (size_t n = 0; n < ran_.size(); ++n)
      expect(ran_[n] == 1, "backward", "does not run once", static_cast<int>(n));
    const auto with_weight = std::ranges::count_if(
        graph_.nodes, [](const ScheduledNode& node) { return node.weight_grad; });
    expect(weight_grads_ == with_weight, "backward", "weight gradients are missing", -1);
    // The gradients of images are for the caller. The others may have lived in scratch.
    for (size_t v = 0; v < gradients_.size(); ++v)
      if (graph_.producer[v] < 0 || !in_scratch_once_.contains(static_cast<int>(v)))
        for (const auto& row : gradients_[v].writers)
          expect(complete(static_cast<int>(v), row), "gradient", "is not complete in the end",
                 static_cast<int>(v));
  }

  std::set<std::string> wrong;

 private:
  /// An activation or a gradient that lives in scratch while the current group runs.
  struct Scratch {
    ScratchValue entry;
    Rows rows;
  };

  void expect(bool right, const std::string& what, const std::string& problem, int number) {
    if (!right) wrong.insert(what + " " + std::to_string(number) + " " + problem);
  }
  const ScheduledNode& node(int n) const { return graph_.nodes[static_cast<size_t>(n)]; }
  const ScheduledValue& value(int v) const { return graph_.values[static_cast<size_t>(v)]; }
  Rows& memory(int v, bool gradient) {
    return (gradient ? gradients_ : data_)[static_cast<size_t>(v)];
  }
  RowRange all(int v) const { return {0, value(v).rows}; }

  Scratch* scratch(int v, bool gradient) {
    for (Scratch& s : scratch_)
      if (s.entry.value == v && s.entry.gradient == gradient) return &s;
    return nullptr;
  }
  bool in_memory(int v) const {
    return std::ranges::none_of(data_[static_cast<size_t>(v)].writers,
                                [](const auto& row) { return row.empty(); });
  }
  /// Returns true if all consumers have written a row of a gradient, from the last to the first.
  bool complete(int v, const std::vector<int>& row) const {
    return std::vector<int>(row.rbegin(), row.rend()) == graph_.consumers[static_cast<size_t>(v)];
  }

  void read(int reader, int v, RowRange rows, bool gradient) {
    Scratch* here = scratch(v, gradient);
    const Rows& from = here ? here->rows : memory(v, gradient);
    for (int64_t r = std::max<int64_t>(rows.begin, 0); r < std::min(rows.end, value(v).rows); ++r) {
      const auto& row = from.writers[static_cast<size_t>(r)];
      expect(gradient ? complete(v, row) : !row.empty(), gradient ? "gradient" : "value",
             "is read too early by node " + std::to_string(reader), v);
    }
    if (gradient)
      expect(!streamed_.contains(v), "gradient", "is streamed and read in one group", v);
  }

  void write(int writer, int v, RowRange rows, bool gradient) {
    Scratch* here = scratch(v, gradient);
    Rows& to = here ? here->rows : memory(v, gradient);
    if (here && here->entry.band) to.clear();  // the next rows take the place of these
    for (int64_t r = rows.begin; r < rows.end; ++r) {
      auto& row = to.writers[static_cast<size_t>(r)];
      if (gradient && streamed_.contains(v))
        expect(row.empty(), "gradient", "is streamed and added to", v);
      row.push_back(writer);
      // Batch norm copies its output when it runs forward.
      if (!gradient && here && here->entry.copied && node(writer).sums)
        memory(v, false).writers[static_cast<size_t>(r)].push_back(writer);
    }
  }

  /// Copies the rows that a `sum` step reads.
  void copy(int v, RowRange rows, bool gradient) {
    const Scratch* here = scratch(v, gradient);
    if (here == nullptr || !here->entry.copied) return;
    for (int64_t r = rows.begin; r < rows.end; ++r)
      memory(v, gradient).writers[static_cast<size_t>(r)] =
          here->rows.writers[static_cast<size_t>(r)];
  }

  /// Returns the input rows in the windows of output rows.
  static RowRange windows_of(const RowWindow& window, RowRange outputs) {
    return {outputs.begin * window.stride - window.padding,
            (outputs.end - 1) * window.stride - window.padding + window.kernel};
  }
  /// Calls body(row) for the output rows whose windows contain one of the input rows.
  template <class Body>
  void for_each_output(const ScheduledNode& node, RowRange inputs, const Body& body) const {
    for (int64_t o = 0; o < value(node.output).rows; ++o) {
      const RowRange window = windows_of(node.window, {o, o + 1});
      if (window.begin < inputs.end && inputs.begin < window.end) body(RowRange{o, o + 1});
    }
  }

  void run_groups(const std::vector<StepGroup>& groups) {
    for (const StepGroup& group : groups)
      group.steps.size() == 1 ? run_whole(group) : run_on_blocks(group);
  }

  /// One step is a group of its own: its node runs on the whole batch and computes its own sums.
  void run_whole(const StepGroup& group) {
    expect(group.scratch.empty(), "a group", "of one step has scratch", 0);
    const Step& step = group.steps.front();
    if (step.work != Work::run) return;  // the sums are computed when the node runs
    const ScheduledNode& n = node(step.node);
    ++ran_[static_cast<size_t>(step.node)];
    if (forward_) {
      for (const int v : n.inputs)
        read(step.node, v, all(v), false);
      if (n.output >= 0) write(step.node, n.output, all(n.output), false);
      return;
    }
    if (n.output >= 0) read(step.node, n.output, all(n.output), true);
    for (const int v : n.backward_reads) {
      recompute_whole(v);
      read(step.node, v, all(v), false);
    }
    weight_grads_ += n.weight_grad;
    for (const int v : n.inputs)
      write(step.node, v, all(v), true);
  }

  /// The graph recomputes an output that the forward pass did not keep for a node that runs on the
  /// whole batch.
  void recompute_whole(int v) {
    if (in_memory(v)) return;
    const int producer = graph_.producer[static_cast<size_t>(v)];
    expect(node(producer).can_recompute, "value", "is lost", v);
    for (const int input : node(producer).backward_reads)
      read(producer, input, all(input), false);
    write(producer, v, all(v), false);
  }

  void run_on_blocks(const StepGroup& group) {
    for (const ScratchValue& entry : group.scratch) {
      // An activation that the forward pass has left in memory is not recomputed.
      if (!forward_ && !entry.gradient && in_memory(entry.value)) continue;
      scratch_.push_back({entry, Rows(value(entry.value).rows)});
      if (entry.gradient && !entry.copied) in_scratch_once_.insert(entry.value);
    }
    streamed_ = {group.streamed.begin(), group.streamed.end()};
    check_order(group);
    for (const Step& step : group.steps)
      if (step.work == Work::run) sum_before(step.node);
    std::vector<int64_t> rows_done(group.steps.size());
    run_bands(group.bands, group.rounds, rows_done,
              [&](size_t s, RowRange rows) { run_step(group.steps[s], rows); });
    for (size_t s = 0; s < group.steps.size(); ++s) {
      const Step& step = group.steps[s];
      expect(rows_done[s] == value(counted_value(step)).rows, "step", "leaves rows out",
             static_cast<int>(s));
      if (step.work == Work::run) ++ran_[static_cast<size_t>(step.node)];
      if (step.work == Work::sum) ++summed_[static_cast<size_t>(step.node)];
      if (step.work == Work::weight_grad) ++weight_grads_;
    }
    scratch_.clear();
    streamed_.clear();
  }

  /// A `sum` of what the group computes stands directly behind the step that completes the value.
  /// Other sums of the same value may stand between.
  void check_order(const StepGroup& group) {
    const auto completes = [&](const Step& step, const ScheduledNode& summer) {
      if (step.work != Work::run) return false;
      const ScheduledNode& made = node(step.node);
      return forward_ ? made.output == summer.inputs[0]
                      : std::ranges::find(made.inputs, summer.output) != made.inputs.end();
    };
    for (size_t s = 0; s < group.steps.size(); ++s) {
      const Step& step = group.steps[s];
      expect(node(step.node).on_blocks, "node", "cannot run on blocks", step.node);
      if (step.work != Work::sum) continue;
      size_t last = group.steps.size();
      for (size_t other = 0; other < group.steps.size(); ++other)
        if (completes(group.steps[other], node(step.node))) last = other;
      if (last == group.steps.size()) continue;  // an earlier group has computed the value
      expect(last < s, "the sum of node", "comes before what it sums", step.node);
      for (size_t between = last + 1; between < s; ++between)
        expect(group.steps[between].work == Work::sum, "the sum of node",
               "does not directly follow what it sums", step.node);
    }
  }

  /// A node that needs sums over the batch must not run in the group that computes them. If no
  /// earlier group has computed them, the graph does before the group starts.
  void sum_before(int n) {
    if (!node(n).sums || summed_[static_cast<size_t>(n)]) return;
    const int v = forward_ ? node(n).inputs[0] : node(n).output;
    expect(scratch(v, !forward_) == nullptr, "node", "runs before its sums are complete", n);
    read(n, v, all(v), !forward_);
    summed_[static_cast<size_t>(n)] = 1;
  }

  int counted_value(const Step& step) const {
    const bool of_input = forward_ ? step.work == Work::sum : step.work == Work::run;
    return of_input ? node(step.node).inputs[0] : node(step.node).output;
  }

  void run_step(const Step& step, RowRange rows) {
    const int n = step.node;
    const ScheduledNode& of = node(n);
    if (forward_) {
      if (step.work == Work::sum) {
        read(n, of.inputs[0], rows, false);
        return copy(of.inputs[0], rows, false);
      }
      for (const int v : of.inputs)
        read(n, v, windows_of(of.window, rows), false);
      return write(n, of.output, rows, false);
    }
    switch (step.work) {
      case Work::sum:
        read(n, of.output, rows, true);
        for (const int v : of.backward_reads)
          read(n, v, rows, false);
        return copy(of.output, rows, true);
      case Work::weight_grad:
        read(n, of.output, rows, true);
        for (const int v : of.backward_reads)
          read(n, v, windows_of(of.window, rows), false);
        return;
      case Work::recompute:
        if (scratch(of.output, false) == nullptr) return;
        for (const int v : of.backward_reads)
          read(n, v, rows, false);
        return write(n, of.output, rows, false);
      case Work::run:
        for_each_output(of, rows, [&](RowRange row) { read(n, of.output, row, true); });
        if (!of.weight_grad)
          for (const int v : of.backward_reads)
            read(n, v, rows, false);
        for (const int v : of.inputs)
          write(n, v, rows, true);
    }
  }

  const RandomGraph& graph_;
  bool forward_ = true;
  std::vector<int> ran_, summed_;  // per node
  int64_t weight_grads_ = 0;
  std::vector<Rows> data_, gradients_;  // what lies in memory
  std::vector<Scratch> scratch_;        // of the group that runs
  std::set<int> streamed_, in_scratch_once_;
};

TEST_CASE("block schedule: every step of a random graph finds what it reads") {
  int64_t copied = 0, bands = 0, gradients = 0, streamed = 0, recomputed = 0, joined = 0;
  for (uint64_t seed = 0; seed < 2000; ++seed) {
    CAPTURE(seed);
    const RandomGraph graph = GraphBuilder(seed).build();
    const BlockSchedule schedule = schedule_blocks(graph.nodes, graph.values);
    Execution execution(graph);
    execution.forward(schedule.forward);
    execution.backward(schedule.backward);
    for (const std::string& problem : execution.wrong)
      FAIL_CHECK(problem);
    REQUIRE(execution.wrong.empty());
    for (const auto* groups : {&schedule.forward, &schedule.backward})
      for (const StepGroup& group : *groups) {
        joined += group.steps.size() > 2;
        streamed += std::ssize(group.streamed);
        for (const Step& step : group.steps)
          recomputed += step.work == Work::recompute;
        for (const ScratchValue& entry : group.scratch) {
          copied += entry.copied;
          bands += entry.band;
          gradients += entry.gradient;
        }
      }
  }
  // The graphs are not so simple that the schedule has nothing to decide.
  for (const int64_t count : {copied, bands, gradients, streamed, recomputed, joined})
    CHECK(count > 100);
}

}  // namespace
}  // namespace sculpt
