// After a prune the network is measured, and batch norm's statistics are estimated again if the
// config says so.

#include "engine/sparse/after_prune.h"

#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>

#include "engine/core/files.h"
#include "engine/run/run_folder.h"
#include "tests/support/run_results.h"
#include "tests/support/tiny_run.h"

using namespace sculpt;
using namespace sculpt::testing;
using Json = nlohmann::json;

namespace {

constexpr int64_t kBatch = 8;

/// Two layers of batch norm, with dropout in front of the second.
NetworkSpec spec_with_dropout(double rate) {
  NetworkSpec spec = tiny_spec();
  spec.model = [rate](Builder& b, Value x) {
    x = b.batch_norm("bn1", b.conv("conv1", x, 5), {.relu = true});
    x = b.dropout(x, static_cast<float>(rate));
    x = b.batch_norm("bn2", b.conv("conv2", x, 7, {.stride = 2}), {.relu = true});
    return b.linear("fc", b.global_average_pool(x), 3);
  };
  return spec;
}

std::vector<double> states_of(Network& network) {
  ParameterArena& arena = network.parameters();
  if (arena.element_bytes() == sizeof(double)) {
    const auto values = arena.state_values<double>();
    return {values.begin(), values.end()};
  }
  const auto values = arena.state_values<float>();
  return {values.begin(), values.end()};
}

/// Statistics of one batch alone: from zero, a forward pass adds a tenth of them.
std::vector<double> batch_statistics(Network& network, const Batch& batch,
                                     const Normalization& normalization) {
  ParameterArena& arena = network.parameters();
  if (arena.element_bytes() == sizeof(double))
    std::ranges::fill(arena.edit_state_values<double>(), 0.0);
  else
    std::ranges::fill(arena.edit_state_values<float>(), 0.0f);
  network.load(batch, normalization);
  network.forward(Mode::train);
  std::vector<double> values = states_of(network);
  for (double& v : values)
    v /= double{0.1f};
  return values;
}

PruneOptions reestimating(int64_t images) {
  PruneOptions options = TinyRun::tiny_pruning();
  options.reestimate_batch_norm = images;
  return options;
}

const std::function<bool()> kNeverStop = [] { return false; };

}  // namespace

TEST_CASE("after a prune: re-estimated statistics are the mean over even batches") {
  // 21 images in pieces of at most 8: 7, 7 and 7. 20: 6, 7 and 7, whose weights differ.
  for (const int64_t count : {21, 20, 8, 2}) {
    CAPTURE(count);
    TinySource source(22, 22, 1);
    source.start_epoch(0, 0);
    const Batch all = source.next();
    const int64_t image = source.image_shape().count();
    const auto images = [&](int64_t first, int64_t size) {
      return Batch{all.images + first * image, all.labels + first, size};
    };
    for (const kernels::Backend* backend :
         {&kernels::reference_backend(), test::tested_backends().front()}) {
      CAPTURE(backend->name);
      Network plain(spec_with_dropout(0), *backend, kBatch);
      plain.initialise(4);
      std::vector<double> expected(states_of(plain).size());
      const int64_t pieces = (count + kBatch - 1) / kBatch;
      for (int64_t p = 0; p < pieces; ++p) {
        const int64_t first = count * p / pieces, size = count * (p + 1) / pieces - first;
        const auto values = batch_statistics(plain, images(first, size), source.normalization());
        for (size_t i = 0; i < expected.size(); ++i)
          expected[i] += values[i] * static_cast<double>(size) / static_cast<double>(count);
      }

      // Neither dropout nor the earlier statistics change the result.
      Network network(spec_with_dropout(0.9), *backend, kBatch);
      network.initialise(4);
      ParameterArena& arena = network.parameters();
      if (arena.element_bytes() == sizeof(float))
        std::ranges::fill(arena.edit_state_values<float>(), INFINITY);
      arena.batches_tracked = 5;
      const auto weights = network.rebuild(kernels::reference_backend(), 1);
      REQUIRE(reestimate_batch_norm(network, images, count, source.normalization(), kNeverStop));
      CHECK(arena.batches_tracked == 5);
      const auto after = network.rebuild(kernels::reference_backend(), 1);
      CHECK(std::ranges::equal(after->parameters().weights<double>(),
                               weights->parameters().weights<double>()));
      const auto actual = states_of(network);
      const double tolerance = backend->activation_bytes == 2 ? 0.02 : 2e-5;
      for (size_t i = 0; i < actual.size(); ++i)
        CHECK(actual[i] == doctest::Approx(expected[i]).epsilon(tolerance).scale(0.1));

      // Training goes on with the layer's own momentum and with dropout.
      const PassSettings& settings = network.graph().settings();
      CHECK(settings.dropout);
      CHECK_FALSE(settings.statistics_momentum.has_value());
    }
  }
}

TEST_CASE("after a prune: a run records the metric before and after the re-estimation") {
  const Plan plan = {Cycle{2}, PruneStep{"magnitude", "global", 0.5}, Cycle{1},
                     PruneStep{"magnitude", "global", 0.1}};
  for (const int64_t images : {0, 20}) {
    CAPTURE(images);
    TemporaryFolder folder;
    TinyRun run(folder.path(), plan, TinyRun::tiny_options(), 22, reestimating(images));
    run.trainer().start();
    REQUIRE(run.trainer().run() == RunOutcome::finished);
    const RunFolder files(folder.path());
    const auto prunes = lines_of(files.prunes());
    REQUIRE(prunes.size() == 2);
    CHECK(prunes[0]["plan_step"] == 1);
    CHECK(prunes[0]["epoch"] == 2);
    CHECK(prunes[1]["plan_step"] == 3);
    CHECK(prunes[1]["epoch"] == 3);
    CHECK(prunes[1]["density"] == 0.1);
    const ParameterArena& arena = run.network().parameters();
    CHECK(prunes[1]["kept"] == arena.kept_count());
    CHECK(prunes[1]["prunable"] == arena.prunable_count());
    for (const Json& line : prunes) {
      CHECK(line["test_accuracy"].is_number());
      CHECK(line.contains("test_loss_before_reestimation") == (images > 0));
      if (images == 0) continue;
      CHECK(line["reestimated_on"] == images);
      CHECK(line["test_loss_before_reestimation"] != line["test_loss"]);
    }
    // The last step is a prune: the result is that of the network it left.
    const Json summary = summary_of(folder.path());
    CHECK(summary["test_loss"] == prunes[1]["test_loss"]);
    CHECK(summary["test_accuracy"] == prunes[1]["test_accuracy"]);
    TinySource test(10, kBatch, 2);
    BatchFeed feed(run.network(), test);
    CHECK(evaluate(run.network(), feed, kNeverStop)->loss == summary["test_loss"].get<double>());
  }
}

TEST_CASE("after a prune: interrupted anywhere, a run that re-estimates ends with the same bytes") {
  const Plan plan = {Cycle{1}, PruneStep{"magnitude", "global", 0.5}, Cycle{1},
                     PruneStep{"grasp", "global", 0.2}};
  const auto results_of = [](const std::filesystem::path& folder) {
    const RunFolder files(folder);
    return std::tuple(read_file(files.final_checkpoint()), read_text(files.prunes()),
                      read_text(files.layers()));
  };
  TemporaryFolder whole;
  TinyRun reference(whole.path(), plan, TinyRun::tiny_options(), 22, reestimating(20));
  reference.trainer().start();
  REQUIRE(reference.trainer().run() == RunOutcome::finished);
  const auto expected = results_of(whole.path());

  bool interrupted = true;
  int64_t moment = 0;
  for (; interrupted; ++moment) {
    CAPTURE(moment);
    TemporaryFolder folder;
    {
      TinyRun first(folder.path(), plan, TinyRun::tiny_options(), 22, reestimating(20));
      first.stop_at_question(moment);
      first.trainer().start();
      interrupted = first.trainer().run() == RunOutcome::interrupted;
    }
    for (const int64_t again : {moment % 5, int64_t{-1}}) {
      if (RunFolder(folder.path()).finished()) break;
      TinyRun next(folder.path(), plan, TinyRun::tiny_options(), 22, reestimating(20));
      next.stop_at_question(again);
      std::vector<std::string> warnings;
      next.trainer().resume(warnings);
      CHECK(warnings.empty());
      next.trainer().run();
    }
    REQUIRE(RunFolder(folder.path()).finished());
    CHECK((results_of(folder.path()) == expected));
    REQUIRE(moment < 200);
  }
  // The trainer asks before each of the 4 steps of the plan; after each of the 3 steps and for each
  // of the 2 test batches of an epoch; and after each prune for 2 test batches, 3 batches of
  // statistics and 2 test batches.
  CHECK(moment - 1 == 4 + 2 * (3 + 2) + 2 * (2 + 3 + 2));
}

TEST_CASE("after a prune: a network without batch norm is measured once") {
  NetworkSpec spec = tiny_spec();
  spec.model = [](Builder& b, Value x) { return b.linear("fc", b.flatten(x), 3); };
  Network network(spec, *test::tested_backends().front(), kBatch);
  network.initialise(1);
  TinySource test(10, kBatch, 2);
  BatchFeed feed(network, test);
  const auto result = measure_after_prune(network, feed, {}, 20, test.normalization(), kNeverStop);
  REQUIRE(result.has_value());
  CHECK_FALSE(result->before_reestimation.has_value());
  CHECK(result->reestimated_on == 0);
}
