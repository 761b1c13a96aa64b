// Whole runs of a tiny network: the steps of a plan, records, interruptions and resumes.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <doctest/doctest.h>

#include "engine/core/buffer.h"
#include "engine/nn/cost.h"
#include "engine/optim/lr_schedule.h"
#include "engine/run/run_folder.h"
#include "engine/sparse/criteria.h"
#include "tests/support/run_results.h"
#include "tests/support/tiny_run.h"

using namespace sculpt;
using namespace sculpt::testing;
using Json = nlohmann::json;

namespace {

const Plan kPlan = {Cycle{2},    PruneStep{"magnitude", "global", 0.5}, RewindStep{1},
                    Cycle{2, 1}, PruneStep{"magnitude", "erk", 0.25},   RewindStep{0},
                    Cycle{2}};
constexpr int64_t kEpochs = 2 + 1 + 2;
constexpr int64_t kStepsPerEpoch = 3;

}  // namespace

TEST_CASE("trainer: a run executes its plan and records it") {
  TemporaryFolder folder;
  TinyRun run(folder.path(), kPlan);
  const double dense_flops = training_flops_per_image(run.network());
  run.trainer().start();
  CHECK(run.trainer().run() == RunOutcome::finished);

  const ParameterArena& arena = run.network().parameters();
  const int64_t prunable = arena.prunable_count();
  CHECK(arena.kept_count() == std::llround(0.25 * static_cast<double>(prunable)));
  CHECK(run.trainer().state().epochs == kEpochs);
  CHECK(run.trainer().state().steps == kEpochs * kStepsPerEpoch);

  const RunFolder files(folder.path());
  const auto metrics = lines_of(files.metrics());
  REQUIRE(metrics.size() == kEpochs);
  const std::vector<std::vector<int>> expected = {{1, 1}, {1, 2}, {2, 1}, {3, 1}, {3, 2}};
  const TrainOptions options = TinyRun::tiny_options();
  for (size_t i = 0; i < metrics.size(); ++i) {
    CHECK(metrics[i]["epoch"] == i + 1);
    CHECK(metrics[i]["cycle"] == expected[i][0]);
    CHECK(metrics[i]["cycle_epoch"] == expected[i][1]);
    CHECK(metrics[i]["train_loss"].get<double>() > 0);
    CHECK(metrics[i]["test_accuracy"].is_number());
  }
  // The second cycle enters its schedule after epoch 1.
  CHECK(metrics[0]["lr"] == learning_rate(2, 6, options.optim));
  CHECK(metrics[2]["lr"] == learning_rate(5, 6, options.optim));
  CHECK(metrics[3]["lr"] == learning_rate(2, 6, options.optim));
  CHECK(metrics[1]["density"] == 1.0);
  const double half =
      std::round(0.5 * static_cast<double>(prunable)) / static_cast<double>(prunable);
  CHECK(metrics[2]["density"] == half);

  const auto layers = lines_of(files.layers());
  REQUIRE(layers.size() == 6);  // two prunes of three layers
  int64_t kept = 0;
  for (size_t i = 3; i < 6; ++i) {
    CHECK(layers[i]["plan_step"] == 4);
    CHECK(layers[i]["epoch"] == 3);
    kept += layers[i]["kept"].get<int64_t>();
  }
  CHECK(kept == arena.kept_count());

  const Json summary = summary_of(folder.path());
  CHECK(summary["method"] == "custom");
  CHECK(summary["seed"] == 5);
  CHECK(summary["prunable"] == prunable);
  CHECK(summary["kept"] == arena.kept_count());
  CHECK(summary["epochs"] == kEpochs);
  CHECK(summary["test_accuracy"] == metrics.back()["test_accuracy"]);
  CHECK(summary["train_loss"] == metrics.back()["train_loss"]);
  CHECK(summary["best_test_accuracy_at_final_density"] ==
        std::max(metrics[3]["test_accuracy"].get<double>(),
                 metrics[4]["test_accuracy"].get<double>()));
  CHECK(summary["peak_memory_bytes"].get<int64_t>() > 1000000);
  const bool on_device = test::tested_backends().front()->memory != nullptr;
  const auto on_gpu = summary["peak_device_memory_bytes"].get<size_t>();
  CHECK(on_gpu >= (on_device ? run.network().graph().planned_bytes() : 0));
  CHECK((on_gpu > 0) == on_device);

  // The cost: each epoch at the densities of the prune before it.
  const auto flops_at = [&](size_t first_layer) {
    double flops = 0;
    for (const LayerCost& cost : layer_costs(run.network())) {
      double density = 1;
      for (size_t i = first_layer; i < first_layer + 3; ++i)
        if (layers[i]["layer"] == arena[cost.weight].name)
          density = layers[i]["kept"].get<double>() / layers[i]["count"].get<double>();
      flops += (cost.name == "conv1" ? 4.0 : 6.0) * static_cast<double>(cost.macs) * density;
    }
    return flops;
  };
  const double total = 22 * (2 * dense_flops + flops_at(0) + 2 * flops_at(3));
  CHECK(summary["train_flops"].get<double>() == doctest::Approx(total).epsilon(1e-12));
  CHECK(summary["train_flops_vs_dense"].get<double>() ==
        doctest::Approx(total / (22 * 2 * dense_flops)).epsilon(1e-12));

  CHECK(std::filesystem::exists(files.final_checkpoint()));
  CHECK(std::filesystem::exists(files.rewind_checkpoint(0)));
  CHECK(std::filesystem::exists(files.rewind_checkpoint(1)));
  const auto count = std::distance(std::filesystem::directory_iterator(files.checkpoints()), {});
  CHECK(std::filesystem::exists(files.end_state()));
  CHECK(count == 4);  // resumable states are gone
}

TEST_CASE("trainer: rewinding restores the kept weights and batch-norm state") {
  TemporaryFolder folder;
  TinyRun run(folder.path(), {Cycle{2}, PruneStep{"magnitude", "global", 0.5}, RewindStep{1}});
  run.trainer().start();
  CHECK(run.trainer().run() == RunOutcome::finished);

  TemporaryFolder other;
  TinyRun one_epoch(other.path(), {Cycle{2}});
  one_epoch.trainer().start();
  one_epoch.stop_after_step(kStepsPerEpoch + 1);
  CHECK(one_epoch.trainer().run() == RunOutcome::interrupted);
  REQUIRE(one_epoch.trainer().state().epochs == 1);
  REQUIRE(one_epoch.trainer().state().epoch_step == 1);

  // The state after epoch 1 comes from the file that the first run stored.
  const auto file = safetensors::File::read(RunFolder(folder.path()).rewind_checkpoint(1), true);
  ParameterArena& arena = run.network().parameters();
  for (const Parameter& p : arena.parameters()) {
    const auto weights = ParameterArena::slice(arena.weights<float>(), p);
    const auto masks = ParameterArena::slice(arena.masks(), p);
    const auto momentum = ParameterArena::slice(arena.momentum<float>(), p);
    const safetensors::Tensor& stored = file.get(p.name, safetensors::Dtype::f32, p.shape);
    for (size_t i = 0; i < weights.size(); ++i) {
      float expected = 0;
      std::memcpy(&expected, stored.data.data() + 4 * i, 4);
      if (!masks[i]) expected = 0;
      CHECK(std::memcmp(&expected, &weights[i], 4) == 0);
      CHECK(momentum[i] == 0);
    }
  }
  CHECK(arena.batches_tracked == kStepsPerEpoch);
}

TEST_CASE("trainer: drop_last leaves the short batch out of steps, images and costs") {
  TemporaryFolder folder;
  TrainOptions options = TinyRun::tiny_options();
  options.drop_last = true;
  TinyRun run(folder.path(), {Cycle{2}}, options);  // 22 images in batches of 8
  const double flops = training_flops_per_image(run.network());
  run.trainer().start();
  REQUIRE(run.trainer().run() == RunOutcome::finished);
  const Json summary = summary_of(folder.path());
  CHECK(summary["steps"] == 2 * 2);
  CHECK(summary["train_flops"].get<double>() == doctest::Approx(2 * 16 * flops).epsilon(1e-12));
  CHECK(summary["train_flops_vs_dense"].get<double>() == doctest::Approx(1).epsilon(1e-12));
  const auto metrics = lines_of(RunFolder(folder.path()).metrics());
  CHECK(metrics[0]["lr"] == learning_rate(1, 4, options.optim));
}

TEST_CASE("trainer: a rewind names an epoch of the schedule, however late that is entered") {
  // The last epoch of a late schedule can be rewound to.
  TemporaryFolder late;
  TinyRun to_the_end(late.path(),
                     parse_plan(std::vector<std::string>{
                         "train 4 from 2", "prune magnitude global 0.5", "rewind 4", "train 2"}));
  to_the_end.trainer().start();
  CHECK(to_the_end.trainer().run() == RunOutcome::finished);
  CHECK(std::filesystem::exists(RunFolder(late.path()).rewind_checkpoint(4)));

  TemporaryFolder folder;
  TinyRun run(folder.path(), {Cycle{8, 2}, PruneStep{"magnitude", "global", 0.5}, RewindStep{5}});
  run.trainer().start();
  REQUIRE(run.trainer().run() == RunOutcome::finished);
  CHECK(std::filesystem::exists(RunFolder(folder.path()).rewind_checkpoint(5)));

  // Epochs 3, 4 and 5 of the same schedule, from a run that stops there.
  TemporaryFolder other;
  TinyRun partial(other.path(), Plan{Cycle{8, 2}});
  partial.stop_after_step(3 * kStepsPerEpoch);
  partial.trainer().start();
  REQUIRE(partial.trainer().run() == RunOutcome::interrupted);
  REQUIRE(partial.trainer().state().epoch_step == kStepsPerEpoch);
  ParameterArena& rewound = run.network().parameters();
  ParameterArena& expected = partial.network().parameters();
  CHECK(rewound.batches_tracked == 3 * kStepsPerEpoch);
  const auto weights = rewound.weights<float>(), before = expected.weights<float>();
  for (size_t i = 0; i < weights.size(); ++i)
    CHECK(weights[i] == (rewound.masks()[i] ? before[i] : 0.f));
  CHECK(std::ranges::equal(rewound.state_values<float>(), expected.state_values<float>()));
}

TEST_CASE("trainer: interrupted anywhere and resumed, a run ends with the same bytes") {
  TemporaryFolder whole;
  TinyRun reference(whole.path(), kPlan);
  reference.trainer().start();
  REQUIRE(reference.trainer().run() == RunOutcome::finished);
  const auto expected = final_of(whole.path());
  const auto expected_metrics = timeless(lines_of(RunFolder(whole.path()).metrics()));
  const auto expected_layers = lines_of(RunFolder(whole.path()).layers());
  const auto expected_summary = timeless({summary_of(whole.path())});

  // The first session stops at one question of the trainer after another. A second session stops
  // once more, and a third one finishes the run.
  bool interrupted = true;
  for (int64_t moment = 0; interrupted; ++moment) {
    CAPTURE(moment);
    TemporaryFolder folder;
    {
      TinyRun first(folder.path(), kPlan);
      first.stop_at_question(moment);
      first.trainer().start();
      interrupted = first.trainer().run() == RunOutcome::interrupted;
    }
    for (const int64_t again : {moment % 7, int64_t{-1}}) {
      if (RunFolder(folder.path()).finished()) break;
      TinyRun next(folder.path(), kPlan);
      next.stop_at_question(again);
      std::vector<std::string> warnings;
      next.trainer().resume(warnings);
      CHECK(warnings.empty());
      next.trainer().run();
    }
    REQUIRE(RunFolder(folder.path()).finished());
    CHECK((final_of(folder.path()) == expected));
    CHECK((timeless(lines_of(RunFolder(folder.path()).metrics())) == expected_metrics));
    CHECK((lines_of(RunFolder(folder.path()).layers()) == expected_layers));
    CHECK((timeless({summary_of(folder.path())}) == expected_summary));
    REQUIRE(moment < 200);
  }
}

TEST_CASE("trainer: the same with sparse kernels, which store kept weights only") {
  TrainOptions options = TinyRun::tiny_options();
  options.checkpoint_steps = 2;
  options.optim.clip_norm = 0.5;
  options.optim.weight_decay = 0.01;
  options.execution.sparse = "on";
  const auto session = [&](const std::filesystem::path& folder, int64_t moment, bool resume) {
    TinyRun run(folder, kPlan, options);
    run.stop_at_question(moment);
    std::vector<std::string> warnings;
    resume ? run.trainer().resume(warnings) : run.trainer().start();
    const bool interrupted = run.trainer().run() == RunOutcome::interrupted;
    ParameterArena& arena = run.network().parameters();
    const bool sparse = arena.backend().sparse_conv2d.forward != nullptr;
    if (interrupted) return true;
    run.network().forward_adding(Mode::eval);  // checkpoints show all weights
    CHECK(arena.layout()->dense() != sparse);
    return false;
  };
  TemporaryFolder whole;
  REQUIRE_FALSE(session(whole.path(), -1, false));
  const auto expected = final_of(whole.path());
  const auto expected_metrics = timeless(lines_of(RunFolder(whole.path()).metrics()));

  bool interrupted = true;
  for (int64_t moment = 0; interrupted; moment += 5) {
    CAPTURE(moment);
    TemporaryFolder folder;
    interrupted = session(folder.path(), moment, false);
    if (interrupted && session(folder.path(), 4, true)) session(folder.path(), -1, true);
    CHECK((final_of(folder.path()) == expected));
    CHECK((timeless(lines_of(RunFolder(folder.path()).metrics())) == expected_metrics));
    REQUIRE(moment < 200);
  }
}

TEST_CASE("trainer: every criterion prunes in the middle of a run, which can be resumed there") {
  for (const Criterion& criterion : criteria()) {
    CAPTURE(criterion.name);
    const Plan plan = {Cycle{1}, PruneStep{std::string(criterion.name), "erk", 0.4}, Cycle{1}};
    std::vector<std::byte> finals[2];
    for (const bool interrupt : {false, true}) {
      TemporaryFolder folder;
      {
        TinyRun run(folder.path(), plan);
        if (interrupt) run.stop_before_plan_step(2);
        run.trainer().start();
        const RunOutcome outcome = run.trainer().run();
        REQUIRE((outcome == RunOutcome::interrupted) == interrupt);
        REQUIRE(run.trainer().state().plan_step == (interrupt ? 2 : 3));
      }
      TinyRun run(folder.path(), plan);
      std::vector<std::string> warnings;
      if (interrupt) {
        run.trainer().resume(warnings);
        REQUIRE(run.trainer().run() == RunOutcome::finished);
        const ParameterArena& arena = run.network().parameters();
        CHECK(arena.kept_count() ==
              std::llround(0.4 * static_cast<double>(arena.prunable_count())));
      }
      finals[interrupt] = final_of(folder.path());
    }
    CHECK((finals[0] == finals[1]));
  }
}

TEST_CASE("trainer: checkpoints inside epochs and rarer than epochs change nothing") {
  const auto run_with = [](int64_t every, int64_t steps) {
    TemporaryFolder folder;
    TrainOptions options = TinyRun::tiny_options();
    options.checkpoint_every = every;
    options.checkpoint_steps = steps;
    TinyRun run(folder.path(), kPlan, options);
    run.trainer().start();
    run.trainer().run();
    return std::pair(final_of(folder.path()), run.trainer().state().saves);
  };
  const auto [expected, saves] = run_with(1, 0);
  CHECK(saves == 1 + kEpochs + 2 + 2);  // the start, epochs, prunes, rewinds
  const auto [rare, rare_saves] = run_with(0, 0);
  CHECK(rare == expected);
  CHECK(rare_saves == 1 + 3 + 2 + 2);  // cycles instead of epochs
  const auto [often, often_saves] = run_with(1, 1);
  CHECK(often == expected);
  CHECK(often_saves == 1 + kEpochs * kStepsPerEpoch + 2 + 2);
}

TEST_CASE("trainer: skipped evaluations are null, the last epoch of a cycle is evaluated") {
  TemporaryFolder folder;
  TrainOptions options = TinyRun::tiny_options();
  options.epochs = 5;
  options.eval_every = 2;
  TinyRun run(folder.path(), {Cycle{5}}, options);
  run.trainer().start();
  run.trainer().run();
  const auto metrics = lines_of(RunFolder(folder.path()).metrics());
  REQUIRE(metrics.size() == 5);
  for (size_t i = 0; i < 5; ++i)
    CHECK(metrics[i]["test_accuracy"].is_null() == (i == 0 || i == 2));
}

TEST_CASE("trainer: the best accuracy is that at the final density, the first of equal ones") {
  // Every second epoch is evaluated, so the first epoch after the prune is not.
  TrainOptions options = TinyRun::tiny_options();
  options.eval_every = 2;
  const auto finish = [&](const Plan& plan, std::vector<Json>* metrics) {
    TemporaryFolder folder;
    TinyRun run(folder.path(), plan, options);
    run.trainer().start();
    run.trainer().run();
    const RunFolder files(folder.path());
    if (std::filesystem::exists(files.metrics())) *metrics = lines_of(files.metrics());
    return summary_of(folder.path());
  };
  std::vector<Json> metrics;
  const Json pruned =
      finish({Cycle{8}, PruneStep{"magnitude", "global", 0.02}, Cycle{6}}, &metrics);
  REQUIRE(metrics.size() == 14);
  double best = -1, best_before = -1;
  int64_t best_epoch = 0, equal = 0;
  for (size_t i = 0; i < metrics.size(); ++i) {
    if (metrics[i]["test_accuracy"].is_null()) continue;
    const double accuracy = metrics[i]["test_accuracy"];
    if (i < 8) {
      best_before = std::max(best_before, accuracy);
    } else if (accuracy > best) {
      best = accuracy;
      best_epoch = static_cast<int64_t>(i) + 1;
      equal = 1;
    } else if (accuracy == best) {
      ++equal;
    }
  }
  REQUIRE(best_before > best);  // or the test says nothing
  REQUIRE(equal > 1);
  CHECK(pruned["best_test_accuracy_at_final_density"] == best);
  CHECK(pruned["best_epoch_at_final_density"] == best_epoch);

  // A plan that ends in a prune is evaluated once at its density: after the last epoch.
  const Json ends_in_prune = finish({Cycle{2}, PruneStep{"magnitude", "global", 0.02}}, &metrics);
  CHECK(ends_in_prune["best_test_accuracy_at_final_density"] == ends_in_prune["test_accuracy"]);
  CHECK(ends_in_prune["best_epoch_at_final_density"] == 2);
  // A prune that removes nothing changes no density.
  const Json dense = finish({Cycle{8}, PruneStep{"magnitude", "global", 1.0}, Cycle{1}}, &metrics);
  double best_dense = 0;
  for (const Json& line : metrics)
    if (!line["test_accuracy"].is_null())
      best_dense = std::max(best_dense, line["test_accuracy"].get<double>());
  CHECK(dense["best_test_accuracy_at_final_density"] == best_dense);
}

TEST_CASE("trainer: learns") {
  TemporaryFolder folder;
  TrainOptions options = TinyRun::tiny_options();
  options.epochs = 8;
  TinyRun run(folder.path(), {Cycle{8}}, options);
  run.trainer().start();
  run.trainer().run();
  const auto metrics = lines_of(RunFolder(folder.path()).metrics());
  CHECK(metrics.back()["train_loss"].get<double>() < 0.7 * metrics[0]["train_loss"].get<double>());
  CHECK(metrics.back()["test_accuracy"].get<double>() > 0.5);
}
