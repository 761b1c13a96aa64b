// Hooks around steps and epochs: their order, what they keep in checkpoints, how they end a run,
// and hooks that change masks in the middle of a cycle.

#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

#include "engine/core/phase.h"
#include "engine/nn/cost.h"
#include "engine/sparse/prune.h"
#include "engine/train/hooks/hook.h"
#include "tests/support/looks.h"
#include "tests/support/plain_adam.h"
#include "tests/support/tiny_run.h"

using namespace sculpt;
using namespace sculpt::testing;
using Json = nlohmann::json;

namespace {

constexpr int64_t kStepsPerEpoch = 3, kImages = 22, kBatch = 8;

bool on_device() {
  return test::tested_backends().front()->memory != nullptr;
}

std::vector<Json> lines_of(const std::filesystem::path& path) {
  std::vector<Json> lines;
  std::istringstream text(read_text(path));
  for (std::string line; std::getline(text, line);)
    lines.push_back(Json::parse(line));
  return lines;
}

/// What a run leaves behind, without what depends on the clock and on the machine's memory.
std::string results_of(const std::filesystem::path& folder) {
  const RunFolder files(folder);
  std::vector<Json> lines = lines_of(files.metrics());
  lines.push_back(Json::parse(read_text(files.summary())));
  std::string text = read_text(files.final_checkpoint());
  for (Json& line : lines) {
    for (const char* key : {"seconds", "seconds_dense", "seconds_measuring_dense", "train_seconds",
                            "train_seconds_dense", "images_per_second", "peak_memory_bytes",
                            "peak_device_memory_bytes"})
      line.erase(key);
    text += line.dump() + "\n";
  }
  return text;
}

Json summary_of(const std::filesystem::path& folder) {
  return Json::parse(read_text(RunFolder(folder).summary()));
}

TinyRun run_with(const std::filesystem::path& folder, const Plan& plan, std::vector<Hook*> hooks,
                 const TrainOptions& options = TinyRun::tiny_options(),
                 const OptimizerMaker& optimizer = make_optimizer) {
  return TinyRun(folder, plan, options, kImages, TinyRun::tiny_pruning(), TinyRun::kHash, {},
                 optimizer, std::move(hooks));
}

RunOutcome start(TinyRun& run) {
  run.trainer().start();
  return run.trainer().run();
}

RunOutcome resume(TinyRun& run) {
  std::vector<std::string> warnings;
  run.trainer().resume(warnings);
  CHECK(warnings.empty());
  return run.trainer().run();
}

// --- Order -------------------------------------------------------------------------------------

/// Writes its calls into a log.
class Recorder : public Hook {
 public:
  Recorder(std::string name, std::vector<std::string>& log) : name_(std::move(name)), log_(log) {}

  std::string name() const override { return name_; }
  void before_plan_step(const PlanStep&, HookContext&) override { add("plan step"); }
  void before_epoch(HookContext& context) override {
    CHECK(context.state().epoch_step == 0);
    add("before epoch");
  }
  void before_step(HookContext& context) override {
    CHECK(context.step().seconds == 0);
    CHECK(context.step().lr > 0);
    steps_ = context.state().steps;
    add("before step");
  }
  void after_step(HookContext& context) override {
    const RunState& state = context.state();
    CHECK(state.steps == steps_ + 1);
    CHECK(context.step().images == (context.step().last_of_epoch ? kImages % kBatch : kBatch));
    // The trainer's own hooks have seen the step.
    CHECK(context.step().seconds > 0);
    if (!on_device() || context.step().last_of_epoch) CHECK(state.sums.loss > 0);
    CHECK(state.sums.seconds > 0);
    CHECK(state.dense.seconds_current_mask > 0);
    add("after step");
  }
  void after_epoch(HookContext& context) override {
    CHECK(context.state().test_accuracy >= 0);
    CHECK(context.state().epoch_step == 0);
    add("after epoch");
  }
  void masks_changed(HookContext&) override { add("masks"); }
  void at_end(HookContext&) override { add("end"); }

 private:
  void add(const char* what) { log_.push_back(name_ + ": " + what); }

  std::string name_;
  std::vector<std::string>& log_;
  int64_t steps_ = 0;
};

/// "x" for every hook, in the order of the list or the reverse one.
void expect_each(std::vector<std::string>& log, const char* what, bool reverse) {
  for (const char* name : {reverse ? "b" : "a", reverse ? "a" : "b"})
    log.push_back(fmt::format("{}: {}", name, what));
}

std::vector<std::string> expected_epoch() {
  std::vector<std::string> log;
  expect_each(log, "before epoch", true);
  for (int64_t step = 0; step < kStepsPerEpoch; ++step) {
    expect_each(log, "before step", true);
    expect_each(log, "after step", false);
  }
  expect_each(log, "after epoch", false);
  return log;
}

const Plan kPruned = {PruneStep{"random", "uniform", 0.5}, Cycle{4}};

// --- A hook that changes masks in a cycle --------------------------------------------------------

std::vector<std::span<uint8_t>> prunable_masks(ParameterArena& arena) {
  std::vector<std::span<uint8_t>> masks;
  for (const Parameter& p : arena.parameters())
    if (p.prunable) masks.push_back(ParameterArena::slice(arena.masks(), p));
  return masks;
}

/// As methods with a fixed number of weights do, but with a pause: after one step of the run a
/// fifth of each layer's kept weights is masked, the smallest ones, and after a later step as many
/// weights are kept again, none of which was masked by the hook.
class ShrinkAndGrow : public Hook {
 public:
  ShrinkAndGrow(int64_t shrink_after, int64_t grow_after)
      : shrink_after_(shrink_after), grow_after_(grow_after) {}

  std::string name() const override { return "shrink-and-grow"; }
  void after_step(HookContext& context) override {
    if (context.state().steps == shrink_after_) shrink(context);
    if (context.state().steps == grow_after_) grow(context);
  }
  HookValues save() const override {
    if (removed_.empty()) return {};
    std::string text;
    for (const std::vector<size_t>& layer : removed_) {
      for (const size_t i : layer)
        text += fmt::format("{} ", i);
      text += "\n";
    }
    return {{"removed", text}};
  }
  void restore(const HookValues& values) override {
    removed_.clear();
    if (!values.count("removed")) return;
    std::istringstream lines(values.at("removed"));
    for (std::string line; std::getline(lines, line);) {
      removed_.emplace_back();
      std::istringstream words(line);
      for (size_t i = 0; words >> i;)
        removed_.back().push_back(i);
    }
  }

  std::vector<std::pair<size_t, size_t>> grown;  // layer, index in it

 private:
  void shrink(HookContext& context) {
    ParameterArena& arena = context.network().parameters();
    for (const Parameter& p : arena.parameters()) {
      if (!p.prunable) continue;
      const auto weights = ParameterArena::slice(arena.weights<float>(), p);
      std::vector<size_t> kept;
      for (size_t i = 0; i < weights.size(); ++i)
        if (ParameterArena::slice(std::as_const(arena).masks(), p)[i]) kept.push_back(i);
      std::ranges::stable_sort(
          kept, [&](size_t a, size_t b) { return std::abs(weights[a]) < std::abs(weights[b]); });
      kept.resize(kept.size() / 5);
      for (const size_t i : kept)
        ParameterArena::slice(arena.masks(), p)[i] = 0;
      removed_.push_back(kept);
    }
    context.masks_changed();
  }
  void grow(HookContext& context) {
    const RandomStream random(context.score_context().seed, Purpose::test);
    auto masks = prunable_masks(context.network().parameters());
    REQUIRE(masks.size() == removed_.size());
    for (size_t layer = 0; layer < masks.size(); ++layer) {
      size_t left = removed_[layer].size();
      for (uint64_t draw = 0; left > 0; ++draw) {
        const size_t i = random.below(1000 * layer + draw, masks[layer].size());
        const bool removed = std::ranges::find(removed_[layer], i) != removed_[layer].end();
        if (masks[layer][i] || removed) continue;
        masks[layer][i] = 1;
        grown.emplace_back(layer, i);
        --left;
      }
    }
    context.masks_changed();
  }

  int64_t shrink_after_, grow_after_;
  std::vector<std::vector<size_t>> removed_;
};

bool plus_zero(float x) {
  return x == 0 && !std::signbit(x);
}

/// Looks at the network around every step, after the hooks before it in the list.
class Examiner : public Hook {
 public:
  std::string name() const override { return "examiner"; }
  void before_step(HookContext& context) override {
    flops_per_image_ = 0;
    const ParameterArena& arena = context.network().parameters();
    for (const LayerCost& layer : layer_costs(context.network())) {
      const auto mask = ParameterArena::slice(arena.masks(), arena[layer.weight]);
      const double density =
          static_cast<double>(std::ranges::count(mask, 1)) / static_cast<double>(mask.size());
      flops_per_image_ +=
          (layer.name == "conv1" ? 4.0 : 6.0) * static_cast<double>(layer.macs) * density;
    }
  }
  void after_step(HookContext& context) override {
    flops += flops_per_image_ * static_cast<double>(context.step().images);
    skipping += context.network().graph().skips_masked();
    for (const auto& [layer, kernels] : context.network().pass_kernels())
      all_sparse += kernels.forward == kernels::Choice::sparse &&
                    kernels.weight_grad == kernels::Choice::sparse;
    ParameterArena& arena = context.network().parameters();
    std::vector<std::span<float>> arrays = {arena.weights<float>()};
    for (size_t id = 0; id < arena.optimizer_array_names().size(); ++id)
      arrays.push_back(arena.optimizer_values<float>(static_cast<OptimizerArrayId>(id)));
    const auto masks = std::as_const(arena).masks();
    for (size_t i = 0; i < masks.size(); ++i)
      masked_gradients += masks[i] == 0 && arena.gradients<float>()[i] != 0;
    for (size_t i = 0; i < masks.size(); ++i)
      for (const std::span<float> array : arrays)
        not_zero += masks[i] == 0 && !plus_zero(array[i]);
    kept.push_back(arena.kept_count());
  }

  double flops = 0;
  int64_t skipping = 0, all_sparse = 0;  // steps after which layers skip masked weights; layers
  int64_t not_zero = 0;                  // masked elements that are not +0
  int64_t masked_gradients = 0;          // gradients of masked weights that are not 0
  std::vector<int64_t> kept;             // after each step

 private:
  double flops_per_image_ = 0;
};

constexpr int64_t kShrink = 5, kGrow = 8, kSteps = 4 * kStepsPerEpoch;

struct Grown {
  std::vector<float> weights;
  std::vector<float> regrown;  // values of the weights that were kept again
  Examiner examiner;
  RunState state;
  std::vector<Json> metrics;
  Json summary;
  int64_t prunable = 0;
};

Grown shrink_and_grow(SparseKernels sparse, const OptimizerMaker& optimizer,
                      int64_t grow_after = kGrow) {
  const TemporaryFolder folder;
  Grown result;
  ShrinkAndGrow changer(kShrink, grow_after);
  TrainOptions options = TinyRun::tiny_options();
  options.step_graph = false;  // PlainAdam works on the host
  options.optim.lr = 0.02;
  TinyRun run = run_with(folder.path(), kPruned, {&changer, &result.examiner}, options, optimizer);
  run.network().graph().replay().sparse = sparse;
  REQUIRE(start(run) == RunOutcome::finished);
  ParameterArena& arena = run.network().parameters();
  const auto weights = arena.weights<float>();
  result.weights.assign(weights.begin(), weights.end());
  std::vector<const Parameter*> layers;
  for (const Parameter& p : arena.parameters())
    if (p.prunable) layers.push_back(&p);
  for (const auto& [layer, i] : changer.grown)
    result.regrown.push_back(ParameterArena::slice(weights, *layers[layer])[i]);
  result.state = run.trainer().state();
  result.metrics = lines_of(RunFolder(folder.path()).metrics());
  result.summary = summary_of(folder.path());
  result.prunable = arena.prunable_count();
  return result;
}

bool backend_skips() {
  return test::tested_backends().front()->sparse_conv2d.forward != nullptr;
}

}  // namespace

TEST_CASE("hooks: called in the order of the list after a step, in the reverse order before it") {
  const TemporaryFolder folder;
  std::vector<std::string> log, expected;
  Recorder a("a", log), b("b", log);
  TinyRun run = run_with(folder.path(), {PruneStep{"random", "uniform", 0.5}, Cycle{2}}, {&a, &b});
  REQUIRE(start(run) == RunOutcome::finished);

  expect_each(expected, "plan step", true);
  expect_each(expected, "masks", false);
  expect_each(expected, "plan step", true);
  for (int epoch = 0; epoch < 2; ++epoch)
    std::ranges::copy(expected_epoch(), std::back_inserter(expected));
  expect_each(expected, "end", false);
  CHECK(log == expected);
}

TEST_CASE("hooks: every step and epoch is announced once, however often a run is interrupted") {
  for (int64_t step = 1; step <= kStepsPerEpoch; ++step) {
    CAPTURE(step);
    const TemporaryFolder folder;
    std::vector<std::string> log;
    Recorder a("a", log), b("b", log);
    {
      TinyRun run = run_with(folder.path(), {Cycle{1}}, {&a, &b});
      run.stop_after_step(step);
      REQUIRE(start(run) == RunOutcome::interrupted);
    }
    TinyRun run = run_with(folder.path(), {Cycle{1}}, {&a, &b});
    REQUIRE(resume(run) == RunOutcome::finished);
    std::erase_if(log, [](const std::string& line) {
      return line.ends_with("plan step") || line.ends_with("end");
    });
    CHECK(log == expected_epoch());
  }
}

TEST_CASE("hooks: names must be usable and different, and a resumed run has the same hooks") {
  const TemporaryFolder folder;
  std::vector<std::string> log;
  Recorder a("a", log), also_a("a", log), bad("a b", log), none("", log),
      dense("dense-timing", log);
  CHECK(error_of([&] {
          run_with(folder / "x", {Cycle{1}}, {&a, &also_a});
        }) == "two hooks are called 'a'");
  CHECK(error_of([&] { run_with(folder / "x", {Cycle{1}}, {&dense}); }) ==
        "two hooks are called 'dense-timing'");
  for (Recorder* hook : {&bad, &none})
    CHECK(contains(error_of([&] { run_with(folder / "x", {Cycle{1}}, {hook}); }),
                   fmt::format("a hook is called '{}'", hook->name())));

  {
    TinyRun run = run_with(folder / "run", {Cycle{1}}, {&a});
    run.stop_after_step(1);
    REQUIRE(start(run) == RunOutcome::interrupted);
  }
  Recorder b("b", log);
  for (const std::vector<Hook*>& hooks : {std::vector<Hook*>{}, {&b}, {&a, &b}}) {
    TinyRun run = run_with(folder / "run", {Cycle{1}}, hooks);
    std::vector<std::string> warnings;
    const std::string message = error_of([&] { run.trainer().resume(warnings); });
    CAPTURE(message);
    CHECK(contains(message, "a run with the hooks [a], and this run has ["));
  }
  TinyRun run = run_with(folder / "run", {Cycle{1}}, {&a});
  CHECK(resume(run) == RunOutcome::finished);
}

namespace {

/// Remembers texts.
class Keeper : public Hook {
 public:
  Keeper(std::string name, HookValues kept) : values(std::move(kept)), name_(std::move(name)) {}
  std::string name() const override { return name_; }
  HookValues save() const override { return values; }
  void restore(const HookValues& saved) override { restored = saved; }

  HookValues values, restored;

 private:
  std::string name_;
};

}  // namespace

TEST_CASE("hooks: what a hook remembers comes back, whatever the texts are") {
  const TemporaryFolder folder;
  const HookValues first = {{"a.b", "1 2\n\"3\""}, {"empty", ""}}, second = {{"x", "y"}};
  Keeper none("k", {}), one("keeper", first), two("keeper-2", second);
  TinyRun run = run_with(folder.path(), {Cycle{1}}, {&two, &none, &one});
  run.stop_after_step(2);
  REQUIRE(start(run) == RunOutcome::interrupted);

  Keeper none_again("k", {{"old", ""}}), one_again("keeper", {}), two_again("keeper-2", {});
  TinyRun again = run_with(folder.path(), {Cycle{1}}, {&none_again, &one_again, &two_again});
  std::vector<std::string> warnings;
  again.trainer().resume(warnings);
  CHECK(one_again.restored == first);
  CHECK(two_again.restored == second);
  CHECK(none_again.restored.empty());
}

namespace {

/// Ends the session in a certain call, once in the life of the object.
class Ender : public Hook {
 public:
  enum class Way { stop, interrupt };
  enum class Call { before_step, after_step, after_epoch };
  Ender(Way way, Call call, int64_t steps) : way_(way), call_(call), steps_(steps) {}

  std::string name() const override { return "ender"; }
  void before_step(HookContext& context) override { end(Call::before_step, context); }
  void after_step(HookContext& context) override { end(Call::after_step, context); }
  void after_epoch(HookContext& context) override { end(Call::after_epoch, context); }

 private:
  void end(Call call, HookContext& context) {
    if (ended_ || call != call_ || context.state().steps != steps_) return;
    ended_ = true;
    if (way_ == Way::interrupt) throw Interrupted();
    context.stop();
  }

  Way way_;
  Call call_;
  int64_t steps_;
  bool ended_ = false;
};

}  // namespace

TEST_CASE("hooks: a run that a hook ends can be resumed and ends with the same bytes") {
  const Plan plan = {Cycle{2}};
  const TemporaryFolder whole;
  TinyRun reference(whole.path(), plan);
  REQUIRE(start(reference) == RunOutcome::finished);
  using Way = Ender::Way;
  using Call = Ender::Call;
  struct Case {
    Way way;
    Call call;
    int64_t steps, saved_steps;  // steps done at the call, and those that the checkpoint has
  };
  for (const Case& c :
       {Case{Way::stop, Call::before_step, 4, 5}, Case{Way::stop, Call::after_step, 4, 4},
        Case{Way::stop, Call::after_step, 6, 6}, Case{Way::stop, Call::after_epoch, 3, 3},
        Case{Way::stop, Call::after_epoch, 6, 6}, Case{Way::interrupt, Call::before_step, 4, 3},
        Case{Way::interrupt, Call::after_step, 5, 3}, Case{Way::interrupt, Call::after_step, 2, 0},
        Case{Way::interrupt, Call::after_epoch, 6, 3}}) {
    CAPTURE(static_cast<int>(c.way));
    CAPTURE(static_cast<int>(c.call));
    CAPTURE(c.steps);
    const TemporaryFolder folder;
    Ender ender(c.way, c.call, c.steps);
    {
      TinyRun run = run_with(folder.path(), plan, {&ender});
      REQUIRE(start(run) == RunOutcome::interrupted);
      REQUIRE(run.store().newest_good_state());
      CHECK(run.store().newest_good_state()->second.steps == c.saved_steps);
    }
    TinyRun run = run_with(folder.path(), plan, {&ender});
    REQUIRE(resume(run) == RunOutcome::finished);
    CHECK((results_of(folder.path()) == results_of(whole.path())));
  }
}

TEST_CASE("hooks: masked weights and all arrays of the optimizer are +0, and kernels follow") {
  for (const OptimizerMaker& optimizer :
       {OptimizerMaker(make_optimizer), OptimizerMaker(plain_adam)}) {
    const Grown sparse = shrink_and_grow(SparseKernels::on, optimizer);
    CHECK(sparse.examiner.not_zero == 0);
    if (backend_skips()) {
      CHECK(sparse.examiner.skipping == kSteps);
      CHECK(sparse.examiner.all_sparse == 3 * kSteps);  // three layers
    }

    const Grown dense = shrink_and_grow(SparseKernels::off, optimizer);
    CHECK(dense.examiner.not_zero == 0);
    CHECK(dense.examiner.skipping == 0);
    CHECK(dense.examiner.masked_gradients > 0);  // methods that grow by gradients read these
    CHECK(dense.examiner.kept == sparse.examiner.kept);
    // Weights that are kept again start at 0. Kernels that did not know them would leave them
    // there. Dense kernels know all weights; some weights of units whose ReLU is never open stay 0.
    REQUIRE(!sparse.regrown.empty());
    const auto at_zero = std::ranges::count(dense.regrown, 0.f);
    CHECK(std::ranges::count(sparse.regrown, 0.f) == at_zero);
    CHECK(at_zero * 2 < std::ssize(sparse.regrown));
    double largest = 0;
    for (size_t i = 0; i < dense.weights.size(); ++i)
      largest = std::max(largest, std::abs(double{dense.weights[i]} - double{sparse.weights[i]}));
    CHECK(largest < 2e-3);
  }
}

TEST_CASE("hooks: records have the density and the cost of the masks that a hook made") {
  const Grown run = shrink_and_grow(SparseKernels::automatic, make_optimizer);
  const int64_t full = run.examiner.kept.front();
  const int64_t fewer = run.examiner.kept[kShrink];
  REQUIRE(fewer < full);
  for (int64_t step = 1; step <= kSteps; ++step) {
    const bool shrunk = step >= kShrink && step < kGrow;
    CHECK(run.examiner.kept[static_cast<size_t>(step - 1)] == (shrunk ? fewer : full));
  }
  REQUIRE(run.metrics.size() == 4);
  for (size_t epoch = 0; epoch < 4; ++epoch) {
    const int64_t kept = run.examiner.kept[(epoch + 1) * kStepsPerEpoch - 1];
    CHECK(run.metrics[epoch]["density"] ==
          static_cast<double>(kept) / static_cast<double>(run.prunable));
  }
  CHECK(run.metrics[1]["density"] < run.metrics[0]["density"]);
  CHECK(run.summary["kept"] == full);
  CHECK(run.summary["train_flops"].get<double>() ==
        doctest::Approx(run.examiner.flops).epsilon(1e-12));
}

TEST_CASE("hooks: dense timing starts again with the masks that a hook made") {
  const Grown known = shrink_and_grow(SparseKernels::on, make_optimizer);
  if (!backend_skips()) {  // all steps are dense ones
    CHECK(known.state.dense.sparse_steps == 0);
    CHECK(known.state.dense.total() == doctest::Approx(known.state.train_seconds));
    return;
  }
  CHECK(known.state.dense.sparse_steps == kSteps);
  CHECK(known.state.dense.measuring > 0);
  CHECK(known.state.dense.dense_seconds_before > 0);
  CHECK(known.state.dense.seconds_current_mask < known.state.train_seconds);
  CHECK(known.state.dense.total() > 0);
  // A mask of one step cannot be measured, and so the sum cannot be known.
  const Grown unknown = shrink_and_grow(SparseKernels::on, make_optimizer, kShrink + 1);
  CHECK(std::isnan(unknown.state.dense.total()));
  CHECK(unknown.summary["train_seconds_dense"].is_null());
}

TEST_CASE("hooks: interrupted anywhere, a run whose hook changes masks ends with the same bytes") {
  TrainOptions options = TinyRun::tiny_options();
  options.optim.weight_decay = 0.01;
  options.checkpoint_every = 2;
  const auto session = [&](const std::filesystem::path& folder, bool goes_on, const auto& prepare) {
    ShrinkAndGrow changer(kShrink, kGrow);
    Examiner examiner;
    TinyRun run = run_with(folder, kPruned, {&changer, &examiner}, options);
    run.network().graph().replay().sparse = SparseKernels::on;
    prepare(run);
    const RunOutcome outcome = goes_on ? resume(run) : start(run);
    CHECK(examiner.not_zero == 0);
    return outcome;
  };
  const auto whole_session = [](TinyRun&) {};
  const TemporaryFolder whole;
  REQUIRE(session(whole.path(), false, whole_session) == RunOutcome::finished);
  const std::string expected = results_of(whole.path());

  SUBCASE("after steps: before, between and after the changes") {
    for (const int64_t step : {4, 5, 6, 7, 8, 9}) {
      CAPTURE(step);
      const TemporaryFolder folder;
      const auto stop = [&](TinyRun& run) { run.stop_after_step(step); };
      REQUIRE(session(folder.path(), false, stop) == RunOutcome::interrupted);
      const RunFolder files(folder.path());
      const auto state = safetensors::File::read(files.states().front().second, true);
      CHECK(state.metadata("hooks") == "examiner shrink-and-grow");
      CHECK(state.metadata().count("hook.shrink-and-grow.removed") == (step >= kShrink));
      REQUIRE(session(folder.path(), true, whole_session) == RunOutcome::finished);
      CHECK((results_of(folder.path()) == expected));
    }
  }
  SUBCASE("at every moment at which the trainer asks, and once more") {
    bool interrupted = true;
    for (int64_t moment = 0; interrupted; moment += 3) {
      CAPTURE(moment);
      const TemporaryFolder folder;
      const auto stop = [&](TinyRun& run) { run.stop_after(moment); };
      const auto again = [&](TinyRun& run) { run.stop_after(moment % 5); };
      interrupted = session(folder.path(), false, stop) == RunOutcome::interrupted;
      if (interrupted && session(folder.path(), true, again) == RunOutcome::interrupted)
        session(folder.path(), true, whole_session);
      CHECK((results_of(folder.path()) == expected));
      REQUIRE(moment < 200);
    }
  }
  SUBCASE("within phases, the choice of kernels for the new masks among them") {
    int64_t looks = 0, choosing = 0;
    {
      const TemporaryFolder folder;
      const Looks counter;
      session(folder.path(), false, whole_session);
      looks = counter.looks;
      choosing = static_cast<int64_t>(counter.names.count("choosing the layers' kernels"));
    }
    REQUIRE(choosing == 1);
    for (int64_t moment = 0; moment < looks; moment += 1 + looks / 16) {
      CAPTURE(moment);
      const TemporaryFolder folder;
      {
        const Looks stop(moment);
        // Timing of dense kernels takes as many steps as there is time for, so the last looks may
        // be missing.
        if (session(folder.path(), false, whole_session) == RunOutcome::finished) continue;
        CHECK(stop.looks == moment + 1);  // nothing long went on after it
      }
      REQUIRE(session(folder.path(), true, whole_session) == RunOutcome::finished);
      CHECK((results_of(folder.path()) == expected));
    }
  }
}

namespace {

/// Interrupts the choice of kernels.
class InterruptsChoice : public PhaseWatcher {
 public:
  InterruptsChoice() : before_(watch_phases(this)) {}
  ~InterruptsChoice() override { watch_phases(before_); }
  void on_phase(const PhaseState& phase) override {
    if (phase.name == "choosing the layers' kernels") throw Interrupted();
  }
  void on_phase_end(const PhaseState&) override {}

 private:
  PhaseWatcher* const before_;
};

/// Prunes after a step, and lets the choice of kernels that follows be interrupted.
class PrunesInterrupted : public Hook {
 public:
  PrunesInterrupted(int64_t step, bool interrupt) : step_(step), interrupt_(interrupt) {}
  std::string name() const override { return "pruner"; }
  void after_step(HookContext& context) override {
    if (context.state().steps != step_) return;
    prune(context.score_context(), PruneStep{"magnitude", "global", 0.3});
    context.masks_changed();
    if (interrupt_) watcher_.emplace();
  }

 private:
  int64_t step_;
  bool interrupt_;
  std::optional<InterruptsChoice> watcher_;
};

}  // namespace

TEST_CASE("hooks: where the choice of kernels is interrupted, the step and its masks are saved") {
  const Plan plan = {Cycle{2}};
  constexpr int64_t kStep = 4;
  const TemporaryFolder whole, folder;
  {
    PrunesInterrupted pruner(kStep, false);
    TinyRun run = run_with(whole.path(), plan, {&pruner});
    REQUIRE(start(run) == RunOutcome::finished);
  }
  {
    PrunesInterrupted pruner(kStep, true);
    TinyRun run = run_with(folder.path(), plan, {&pruner});
    REQUIRE(start(run) == RunOutcome::interrupted);
    CHECK(run.store().newest_good_state()->second.steps == kStep);
  }
  PrunesInterrupted pruner(kStep, false);
  TinyRun run = run_with(folder.path(), plan, {&pruner});
  REQUIRE(resume(run) == RunOutcome::finished);
  CHECK((results_of(folder.path()) == results_of(whole.path())));
}

namespace {

/// Prunes by magnitude after an epoch.
class Pruner : public Hook {
 public:
  Pruner(int64_t after_epoch, double density) : epoch_(after_epoch), density_(density) {}
  std::string name() const override { return "pruner"; }
  void after_epoch(HookContext& context) override {
    if (context.state().epochs != epoch_) return;
    prune(context.score_context(), PruneStep{"magnitude", "global", density_});
    context.masks_changed();
  }

 private:
  int64_t epoch_;
  double density_;
};

}  // namespace

TEST_CASE("hooks: the best accuracy is that since a hook last changed the density") {
  const auto results_with = [](double density, std::vector<Json>& metrics) {
    const TemporaryFolder folder;
    Pruner pruner(8, density);
    TinyRun run = run_with(folder.path(), {Cycle{12}}, {&pruner});
    REQUIRE(start(run) == RunOutcome::finished);
    metrics = lines_of(RunFolder(folder.path()).metrics());
    return summary_of(folder.path());
  };
  const auto best_of = [](const std::vector<Json>& metrics, size_t first, size_t last) {
    double best = -1;
    for (size_t i = first; i < last; ++i)
      best = std::max(best, metrics[i]["test_accuracy"].get<double>());
    return best;
  };
  std::vector<Json> metrics;
  const Json pruned = results_with(0.02, metrics);
  REQUIRE(metrics.size() == 12);
  REQUIRE(best_of(metrics, 0, 8) > best_of(metrics, 8, 12));  // or the test says nothing
  CHECK(metrics[7]["density"] == 1.0);
  CHECK(metrics[8]["density"] < 0.03);
  CHECK(pruned["best_test_accuracy_at_final_density"] == best_of(metrics, 8, 12));
  CHECK(pruned["best_epoch_at_final_density"] > 8);
  // Masks that keep as many weights as before change no density.
  const Json same = results_with(1, metrics);
  CHECK(same["best_test_accuracy_at_final_density"] == best_of(metrics, 0, 12));
  REQUIRE(best_of(metrics, 0, 8) == best_of(metrics, 0, 12));  // or the next line says nothing
  CHECK(same["best_epoch_at_final_density"] <= 8);
}

namespace {

/// Changes a mask where that is not possible.
class Wrong : public Hook {
 public:
  explicit Wrong(bool of_bias) : of_bias_(of_bias) {}
  std::string name() const override { return "wrong"; }
  void after_step(HookContext& context) override {
    if (!of_bias_) return;
    ParameterArena& arena = context.network().parameters();
    for (const Parameter& p : arena.parameters())
      if (!p.prunable) ParameterArena::slice(arena.masks(), p)[0] = 0;
    context.masks_changed();
  }
  void at_end(HookContext& context) override {
    if (!of_bias_) context.masks_changed();
  }

 private:
  bool of_bias_;
};

}  // namespace

TEST_CASE("hooks: changes of masks that cannot be followed are errors that name the hook") {
  const TemporaryFolder folder;
  Wrong of_bias(true), late(false);
  TinyRun bias = run_with(folder / "bias", {Cycle{1}}, {&of_bias});
  CHECK(contains(error_of([&] { start(bias); }),
                 "hook 'wrong' has masked elements of 'bn1.weight', which cannot be pruned"));
  TinyRun end = run_with(folder / "end", {Cycle{1}}, {&late});
  CHECK(contains(error_of([&] { start(end); }),
                 "hook 'wrong' changed masks in at_end, where it may only look"));
}
