// Whole runs with the rule str: against plain loops in double, interrupted after any step, on
// several ranks, and with thresholds that leave fewer weights than the density needs.

#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <numeric>

#include "engine/run/run_folder.h"
#include "tests/support/hooked_run.h"
#include "tests/support/messages.h"
#include "tests/support/needs.h"
#include "tests/support/shrink_and_grow.h"
#include "tests/support/thread_ranks.h"

using namespace sculpt;
using namespace sculpt::testing;
using sculpt::test::needs_cpu;

namespace {

constexpr double kInitial = -2.5, kTarget = 0.2, kEnd = 0.8;

MaskOptions str_options(double initial = kInitial) {
  MaskOptions masks;
  masks.end = kEnd;
  masks.str_init = initial;
  return masks;
}

Plan str_plan(int64_t epochs, double start = 0.7) {
  const Cycle cycle{epochs, 0, "str", kTarget};
  if (start == 1) return {cycle, Cycle{1}};
  return {PruneStep{"random", "erk", start}, cycle, Cycle{1}};
}

TinyRun run_of(const std::filesystem::path& folder, const Plan& plan, const MaskOptions& masks,
               const TrainOptions& options, std::vector<Hook*> hooks = {},
               Communicator& ranks = one_rank(), const OptimizerMaker& optimizer = make_optimizer) {
  return {folder,         plan, options,   kImages,          TinyRun::tiny_pruning(),
          TinyRun::kHash, {},   optimizer, std::move(hooks), ranks,
          masks};
}

OptimizerArrayId raw_array(const ParameterArena& arena) {
  for (OptimizerArrayId id = 0; id < arena.optimizer_array_count(); ++id)
    if (arena.optimizer_array_name(id) == "raw") return id;
  FAIL("no array raw");
  return -1;
}

std::vector<double> doubles(std::span<const float> values) {
  return {values.begin(), values.end()};
}

/// SGD with soft thresholds that shows the gradients of each step.
class ShowsGradients : public Optimizer {
 public:
  ShowsGradients(ParameterArena& arena, const OptimOptions& options, std::vector<double>& gradients)
      : Optimizer(arena, {}), sgd_(make_optimizer(arena, options)), gradients_(gradients) {}

  void begin_step(double lr) override { sgd_->begin_step(lr); }
  void step() override {
    parameters().store_dense();
    gradients_ = doubles(parameters().gradients<float>());
    sgd_->step();
  }
  void reset() override { sgd_->reset(); }
  void add_soft_thresholds() override { sgd_->add_soft_thresholds(); }
  SoftThresholds* soft_thresholds() override { return sgd_->soft_thresholds(); }
  OptimizerValues save() const override { return sgd_->save(); }

 private:
  std::unique_ptr<Optimizer> sgd_;
  std::vector<double>& gradients_;
};

double sign(double x) {
  return x > 0 ? 1 : x < 0 ? -1 : 0;
}

double sigmoid(double s) {
  return 1 / (1 + std::exp(-s));
}

/// Trains by plain loops in double beside the run, from the gradients that the network computes.
class PlainStr : public Hook {
 public:
  PlainStr(int64_t change_after, const OptimOptions& optim)
      : change_after_(change_after), optim_(optim) {}

  std::string name() const override { return "plain-str"; }
  void before_epoch(HookContext& context) override {
    if (context.state().steps > 0) return;
    ParameterArena& arena = context.network().parameters();
    arena.store_dense();
    v_ = doubles(arena.optimizer_values<float>(raw_array(arena)));
    momentum_.assign(v_.size(), 0);
    mask_.assign(arena.masks().begin(), arena.masks().end());
    for (const Parameter& p : arena.parameters())
      if (p.prunable) s_.push_back({kInitial, 0});
    compare(arena);
  }
  void after_step(HookContext& context) override {
    ParameterArena& arena = context.network().parameters();
    arena.store_dense();
    if (on_) train_thresholds(arena, context.step().lr);
    for (size_t i = 0; i < v_.size(); ++i) {
      momentum_[i] = optim_.momentum * momentum_[i] + gradient[i] + optim_.weight_decay * v_[i];
      v_[i] -= context.step().lr * momentum_[i];
      if (mask_[i] == 0) v_[i] = momentum_[i] = 0;
    }
    if (context.state().steps == change_after_) prune(arena);
    compare(arena);
  }

  std::vector<double> gradient;  // of the step, from ShowsGradients
  double largest_difference = 0;
  int64_t wrong_masks = 0, behind = 0, prunes = 0;

 private:
  void train_thresholds(const ParameterArena& arena, double lr) {
    size_t layer = 0;
    for (const Parameter& p : arena.parameters()) {
      if (!p.prunable) continue;
      auto& [s, momentum] = s_[layer++];
      const double t = sigmoid(s);
      double sum = 0;
      for (auto i = static_cast<size_t>(p.offset); i < static_cast<size_t>(p.offset + p.count);
           ++i) {
        if (mask_[i] == 0 || std::abs(v_[i]) <= t) gradient[i] = 0;
        sum += sign(v_[i]) * gradient[i];
      }
      momentum = optim_.momentum * momentum - t * (1 - t) * sum + optim_.weight_decay * s;
      s -= lr * momentum;
    }
  }
  std::vector<double> weights(const ParameterArena& arena) const {
    std::vector<double> w = v_;
    if (!on_) return w;
    size_t layer = 0;
    for (const Parameter& p : arena.parameters()) {
      if (!p.prunable) continue;
      const double t = sigmoid(s_[layer++].first);
      for (auto i = static_cast<size_t>(p.offset); i < static_cast<size_t>(p.offset + p.count); ++i)
        w[i] = sign(v_[i]) * std::max(std::abs(v_[i]) - t, 0.0);
    }
    return w;
  }
  /// Keeps the largest weights of all layers together; of equal ones, those of lower index.
  void prune(const ParameterArena& arena) {
    ++prunes;
    v_ = weights(arena);
    on_ = false;
    std::vector<size_t> order;
    for (const Parameter& p : arena.parameters())
      for (auto i = static_cast<size_t>(p.offset);
           p.prunable && i < static_cast<size_t>(p.offset + p.count); ++i)
        if (mask_[i] != 0) order.push_back(i);
    std::ranges::stable_sort(order,
                             [&](size_t a, size_t b) { return std::abs(v_[a]) > std::abs(v_[b]); });
    const auto kept =
        static_cast<size_t>(std::llround(kTarget * static_cast<double>(arena.prunable_count())));
    for (size_t i = kept; i < order.size(); ++i)
      v_[order[i]] = momentum_[order[i]] = mask_[order[i]] = 0;
  }
  void compare(const ParameterArena& arena) {
    const std::vector<double> expected = weights(arena), found = doubles(arena.weights<float>());
    const std::vector<double> raw = doubles(arena.optimizer_values<float>(raw_array(arena)));
    const std::vector<double> momentum = doubles(arena.momentum<float>());
    wrong_masks += !std::ranges::equal(arena.masks(), mask_);
    for (size_t i = 0; i < found.size(); ++i) {
      largest_difference =
          std::max({largest_difference, std::abs(found[i] - expected[i]),
                    std::abs(raw[i] - (on_ ? v_[i] : 0)), std::abs(momentum[i] - momentum_[i])});
      behind += on_ && mask_[i] != 0 && found[i] == 0;
    }
  }

  int64_t change_after_;
  OptimOptions optim_;
  bool on_ = true;
  std::vector<double> v_, momentum_;
  std::vector<std::pair<double, double>> s_;  // of each layer, with its momentum
  std::vector<uint8_t> mask_;
};

std::string all_results_of(const std::filesystem::path& folder) {
  std::string text = results_of(folder);
  for (const nlohmann::json& record : lines_of(RunFolder(folder).layers()))
    text += record.dump() + "\n";
  return text;
}

}  // namespace

TEST_CASE("str: 51 steps of a run are those of plain loops, on sparse and on dense kernels") {
  constexpr int64_t kEpochs = 17, kSteps = kEpochs * kStepsPerEpoch;
  for (const double start_density : {1.0, 0.7})
    for (const std::string sparse : {"on", "off"}) {
      CAPTURE(start_density);
      CAPTURE(sparse);
      TrainOptions options = TinyRun::tiny_options();
      options.optim.lr = 0.05;
      options.optim.weight_decay = 0.01;
      options.execution.sparse = sparse;
      options.execution.step_graph = false;    // ShowsGradients works on the host
      options.execution.dense_timing = false;  // it would make optimizers of its own
      PlainStr plain(std::llround(kEnd * kSteps), options.optim);
      Examiner examiner;
      const TemporaryFolder folder;
      Plan plan = str_plan(kEpochs, start_density);
      plan.pop_back();
      TinyRun run = run_of(folder.path(), plan, str_options(), options, {&plain, &examiner},
                           one_rank(), [&](ParameterArena& arena, const OptimOptions& optim) {
                             return std::make_unique<ShowsGradients>(arena, optim, plain.gradient);
                           });
      REQUIRE(start(run) == RunOutcome::finished);
      CHECK(plain.prunes == 1);
      CHECK(plain.wrong_masks == 0);
      CHECK(plain.behind > 1000);
      CHECK(plain.largest_difference < 2e-5);
      CHECK(examiner.not_zero == 0);
    }
}

TEST_CASE("str: interrupted after any step, a run ends with the same bytes") {
  constexpr int64_t kEpochs = 4, kSteps = (kEpochs + 1) * kStepsPerEpoch;
  for (const std::string rule : {"sgd", "adamw"}) {
    TrainOptions options = TinyRun::tiny_options();
    options.optim.rule = rule;
    options.optim.lr = 0.02;
    options.optim.clip_norm = 1;
    options.execution.sparse = "on";
    options.checkpoint_every = 2;
    const TemporaryFolder whole;
    {
      TinyRun run = run_of(whole.path(), str_plan(kEpochs), str_options(), options);
      REQUIRE(start(run) == RunOutcome::finished);
      CHECK(run.network().parameters().kept_count() == std::llround(kTarget * 426));
    }
    for (int64_t step = 1; step < kSteps; step += on_device() ? 4 : 1) {
      CAPTURE(rule);
      CAPTURE(step);
      const TemporaryFolder folder;
      {
        TinyRun run = run_of(folder.path(), str_plan(kEpochs), str_options(), options);
        run.stop_after_step(step);
        REQUIRE(start(run) == RunOutcome::interrupted);
        const auto state = run.store().newest_good_state();
        REQUIRE(state);
        const bool trains_thresholds = step < std::llround(kEnd * kEpochs * kStepsPerEpoch);
        CHECK(state->second.optimizer.contains("threshold.conv2.weight") == trains_thresholds);
        CHECK(safetensors::File::read(state->first, true).has("optimizer.raw.conv2.weight"));
      }
      TinyRun run = run_of(folder.path(), str_plan(kEpochs), str_options(), options);
      REQUIRE(resume(run) == RunOutcome::finished);
      CHECK((all_results_of(folder.path()) == all_results_of(whole.path())));
    }
  }
}

TEST_CASE("str: thresholds that leave too few or too many weights keep the density, and warn") {
  TrainOptions options = TinyRun::tiny_options();
  options.optim.lr = 1e-4;
  {
    const TemporaryFolder folder;
    TinyRun run = run_of(folder.path(), str_plan(2, 1), str_options(-12), options);
    REQUIRE(start(run) == RunOutcome::finished);
    CHECK(run.network().parameters().kept_count() == 85);
    REQUIRE(run.warnings().size() == 1);
    CHECK(
        contains(run.warnings()[0], "str keeps 85 weights to reach its density, and prunes 341 "));
    CHECK(contains(run.warnings()[0], "raise masks.str_init"));
  }
  const TemporaryFolder folder;
  TinyRun run = run_of(folder.path(), str_plan(2, 1), str_options(-0.5), options);
  run.stop_after_step(std::llround(kEnd * 2 * kStepsPerEpoch));
  REQUIRE(start(run) == RunOutcome::interrupted);
  ParameterArena& arena = run.network().parameters();
  arena.store_dense();
  CHECK(arena.kept_count() == std::llround(kTarget * 426));
  // Kept zeros come before all masked weights, because ties go to the lower index.
  int64_t zeros = 0;
  bool masked = false, ordered = true;
  for (const Parameter& p : arena.parameters())
    for (auto i = static_cast<size_t>(p.offset);
         p.prunable && i < static_cast<size_t>(p.offset + p.count); ++i) {
      const bool zero = arena.masks()[i] != 0 && arena.weights()[i] == 0;
      masked = masked || arena.masks()[i] == 0;
      ordered = ordered && !(zero && masked);
      zeros += zero;
    }
  CHECK(zeros > 0);
  CHECK(ordered);
  REQUIRE(run.warnings().size() == 1);
  CHECK(contains(run.warnings()[0],
                 fmt::format("str keeps 85 weights to reach its density, but its thresholds have "
                             "left only {} that are not 0",
                             85 - zeros)));
  CHECK(contains(run.warnings()[0], "lower masks.str_init"));
}

TEST_CASE("str: ranks train the same thresholds and end with the same network" * needs_cpu()) {
  for (const std::string sparse : {"on", "off"}) {
    CAPTURE(sparse);
    TrainOptions options = TinyRun::tiny_options();
    options.execution.sparse = sparse;
    const TemporaryFolder folder;
    std::vector<std::vector<uint8_t>> masks(2);
    std::vector<std::vector<double>> weights(2);
    // The trainer compares all arrays of the ranks after each epoch, too.
    run_on_ranks(2, [&](Communicator& rank) {
      TinyRun run = run_of(folder.path(), str_plan(4), str_options(), options, {}, rank);
      run.trainer().start();
      if (run.trainer().run() != RunOutcome::finished) fail("the run did not finish");
      ParameterArena& arena = run.network().parameters();
      arena.store_dense();
      const auto r = static_cast<size_t>(rank.rank());
      masks[r].assign(arena.masks().begin(), arena.masks().end());
      weights[r] = doubles(arena.weights<float>());
    });
    CHECK(masks[0] == masks[1]);
    CHECK(weights[0] == weights[1]);
    CHECK(std::ranges::count(masks[0], uint8_t{0}) == 426 - std::llround(kTarget * 426));
  }
}

TEST_CASE("str: recorded steps follow thresholds that are switched on and off") {
  const auto results = [](bool recorded) {
    TrainOptions options = TinyRun::tiny_options();
    options.execution.step_graph = recorded;
    options.execution.dense_timing = false;
    const TemporaryFolder folder;
    // A cycle without thresholds before and after the one that trains them.
    TinyRun run = run_of(folder.path(), {Cycle{2}, Cycle{5, 0, "str", kTarget}, Cycle{2}},
                         str_options(), options);
    REQUIRE(start(run) == RunOutcome::finished);
    CHECK((run.trainer().replayed_steps() > 0) == (recorded && on_device()));
    return final_of(folder.path());
  };
  CHECK(results(true) == results(false));
}

TEST_CASE("str: an optimizer without soft thresholds, or with other forms, is refused") {
  const auto error_with = [](auto change) {
    TrainOptions options = TinyRun::tiny_options();
    change(options.optim);
    const TemporaryFolder folder;
    return error_of([&] { run_of(folder.path(), str_plan(2), str_options(), options); });
  };
  CHECK(error_with([](OptimOptions&) {}).empty());
  CHECK(contains(error_with([](OptimOptions& o) { o.ham = true; }), "set optim.ham = false"));
  CHECK(contains(error_with([](OptimOptions& o) { o.sign_in = 2; }), "set optim.sign_in = 0"));
  CHECK(contains(error_with([](OptimOptions& o) { o.ema = 0.5; }), "set optim.ema = 0"));
}
