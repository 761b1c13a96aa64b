// A network whose ranks share each batch, against the same network on one rank.

#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>

#include "engine/core/error.h"
#include "engine/core/random.h"
#include "engine/nn/mean_loss.h"
#include "engine/nn/network.h"
#include "kernels/common/parallel.h"
#include "tests/nn/small_network.h"
#include "tests/support/tested_backends.h"
#include "tests/support/thread_ranks.h"

namespace sculpt {
namespace {

using testing::run_on_ranks;

using testing::distance;
using testing::Images;
using testing::kept_gradients;
using testing::kNormalization;
using testing::mask_half;
using testing::small_spec;

constexpr int64_t kMaxBatch = 40;

/// The numbers that a step leaves in every rank.
struct Step {
  std::vector<double> gradients, statistics;
  double loss = 0;
  int64_t correct = 0;
};

template <class T>
Step step_of(Network& network, const Batch& batch, uint64_t number) {
  ParameterArena& parameters = network.parameters();
  network.load(batch, kNormalization);
  const kernels::LossSums sums = network.forward(Mode::train, number);
  network.backward();
  Step step{kept_gradients<T>(parameters), {}, sums.loss, sums.correct};
  const auto statistics = parameters.state_values<T>();
  step.statistics.assign(statistics.begin(), statistics.end());
  return step;
}

struct Case {
  std::string model;
  SparseKernels sparse = SparseKernels::off;
  bool masked = false;
  GradientExchange exchange = {};
  /// 3 images on 4 ranks: one rank has none. 40 and 17 images run on blocks on some ranks.
  std::vector<int64_t> images = {3, 17, kMaxBatch};
};

/// `bound` is the bound of the gradients' distance. Everything else differs less.
template <class T>
void check(const kernels::Backend& backend, const Case& c, double bound) {
  const Images images(kMaxBatch);
  Execution execution;
  execution.layers.sparse = c.sparse;
  execution.gradients = c.exchange;
  const auto make = [&](Communicator& ranks) {
    Execution of_rank = execution;
    of_rank.ranks = &ranks;
    auto network =
        std::make_unique<Network>(small_spec(0.1, c.model), backend, kMaxBatch, std::move(of_rank));
    network->initialise(9);
    if (c.masked) mask_half(*network);
    return network;
  };
  for (const int64_t count : c.images) {
    const auto alone = make(one_rank());
    const std::vector<Step> expected = {step_of<T>(*alone, images.first(count), 4),
                                        step_of<T>(*alone, images.first(count), 5)};
    for (const int size : {2, 4}) {
      CAPTURE(backend.name);
      CAPTURE(c.model);
      CAPTURE(count);
      CAPTURE(size);
      std::vector<std::vector<Step>> steps(static_cast<size_t>(size));
      run_on_ranks(size, [&](Communicator& rank) {
        const auto network = make(rank);
        for (const uint64_t number : {4, 5})
          steps[static_cast<size_t>(rank.rank())].push_back(
              step_of<T>(*network, images.first(count), number));
      });
      for (const std::vector<Step>& of_rank : steps)
        for (size_t s = 0; s < expected.size(); ++s) {
          CHECK(of_rank[s].gradients == steps[0][s].gradients);
          CHECK(of_rank[s].statistics == steps[0][s].statistics);
          CHECK(of_rank[s].correct == expected[s].correct);
          CHECK(of_rank[s].loss == doctest::Approx(expected[s].loss).epsilon(1e-5));
          CHECK(distance(of_rank[s].gradients, expected[s].gradients) < bound);
          CHECK(distance(of_rank[s].statistics, expected[s].statistics) < std::min(bound, 1e-5));
        }
    }
  }
}

TEST_CASE("ranks: a step leaves the gradients, statistics and loss of one rank, in double") {
  for (const char* model : {"resnet20", "lenet"})
    check<double>(kernels::reference_backend(), {model}, 1e-11);
}

TEST_CASE("ranks: a step leaves the gradients, statistics and loss of one rank, on every backend") {
  for (const kernels::Backend* backend : test::tested_backends()) {
    // Rounding makes a ReLU open or close in a few places, and each changes the gradient. An image
    // that is missing or counts twice changes it by more than a tenth.
    check<float>(*backend, {"resnet20"}, 0.02);
    check<float>(*backend, {"resnet20", SparseKernels::on, true}, 0.02);
  }
}

TEST_CASE("ranks: a step has the same gradients however they are exchanged") {
  for (const Exchange what : {Exchange::kept, Exchange::whole})
    for (const int64_t bucket_bytes : {int64_t{1}, int64_t{4000}, int64_t{1} << 30})
      check<double>(kernels::reference_backend(),
                    {"resnet20", SparseKernels::off, true, {what, bucket_bytes}, {3}}, 1e-11);
  for (const kernels::Backend* backend : test::tested_backends())
    for (const SparseKernels sparse : {SparseKernels::off, SparseKernels::on})
      for (const Exchange what : {Exchange::kept, Exchange::whole})
        check<float>(*backend, {"resnet20", sparse, true, {what, 4000}, {17}}, 0.02);
}

/// Notes the order of calls. The values of another rank are zeros.
class NotingRanks : public Communicator {
 public:
  enum class Event { sum, start };
  std::vector<Event> events;

  int rank() const override { return 0; }
  int size() const override { return 2; }
  std::string description() const override { return "a test"; }
  const std::vector<RankPlace>& places() const override { return places_; }
  void all_reduce_sum(std::span<float>) override { events.push_back(Event::sum); }
  void all_reduce_sum(std::span<double>) override { events.push_back(Event::sum); }
  void all_reduce_sum(std::span<int64_t>) override { events.push_back(Event::sum); }
  PendingSum start_sum(std::span<float>) override { return note_start(); }
  PendingSum start_sum(std::span<double>) override { return note_start(); }
  void broadcast(std::span<std::byte>, int) override {}
  std::vector<std::string> all_gather(const std::string& text) override { return {text, text}; }
  void barrier() override {}
  void finish() override {}

 private:
  PendingSum note_start() {
    events.push_back(Event::start);
    return {};
  }
  void end_all_ranks(int, const std::string& reason) override { fail("{}", reason); }

  std::vector<RankPlace> places_{2};
};

TEST_CASE("ranks: sums of gradients start while the backward pass goes on") {
  using Event = NotingRanks::Event;
  const Images images(kMaxBatch);
  // 3 images run node by node, and 40 on blocks, where a thread has enough of them.
  for (const int64_t count : {int64_t{3}, kMaxBatch}) {
    NotingRanks ranks;
    Execution execution;
    execution.ranks = &ranks;
    execution.gradients.bucket_bytes = 4000;
    Network network(small_spec(), kernels::cpu_backend(), kMaxBatch, execution);
    network.initialise(9);
    network.load(images.first(count), kNormalization);
    network.forward(Mode::train, 1);
    ranks.events.clear();
    network.backward();
    // The sums are those of batch norm layers, of which the last belongs to the first layer.
    const auto first_start = std::ranges::find(ranks.events, Event::start);
    const auto sums_after = std::count(first_start, ranks.events.end(), Event::sum);
    const auto sums = std::ranges::count(ranks.events, Event::sum);
    CAPTURE(count);
    CHECK(sums_after > sums / 2);
    CHECK(ranks.events.back() == Event::start);
  }
}

TEST_CASE("ranks: the gradients of all weights, on request") {
  const Images images(12);
  const auto gradients_of = [&](Communicator& rank, SparseKernels sparse) {
    Execution execution;
    execution.ranks = &rank;
    execution.layers.sparse = sparse;
    Network network(small_spec(), kernels::cpu_backend(), 12, execution);
    network.initialise(9);
    mask_half(network);
    network.load(images.first(12), kNormalization);
    network.forward(Mode::train, 1);
    network.parameters().full_gradients().request();
    network.backward();
    const auto full = network.parameters().full_gradients().values();
    std::vector<double> values(full.begin(), full.end());
    // The optimizer has the same gradients at kept weights.
    network.parameters().store_dense();
    const auto stored = network.parameters().gradients();
    for (size_t i = 0; i < values.size(); ++i)
      if (network.parameters().masks()[i] != 0 && static_cast<double>(stored[i]) != values[i])
        fail("gradient {} is {} and {}", i, stored[i], values[i]);
    return values;
  };
  const std::vector<double> expected = gradients_of(one_rank(), SparseKernels::off);
  for (const SparseKernels sparse : {SparseKernels::off, SparseKernels::on}) {
    std::vector<std::vector<double>> gradients(2);
    run_on_ranks(2, [&](Communicator& rank) {
      gradients[static_cast<size_t>(rank.rank())] = gradients_of(rank, sparse);
    });
    CHECK(gradients[0] == gradients[1]);
    CHECK(distance(gradients[0], expected) < 0.02);
  }
}

TEST_CASE("ranks: without synchronised batch norm, each rank has statistics of its own images") {
  const Images images(12);
  std::vector<std::vector<float>> statistics(2);
  std::vector<std::vector<float>> gradients(2);
  run_on_ranks(2, [&](Communicator& rank) {
    Execution execution;
    execution.ranks = &rank;
    execution.sync_batch_norm = false;
    Network network(small_spec(), kernels::cpu_backend(), 12, execution);
    network.initialise(9);
    network.load(images.first(12), kNormalization);
    network.forward(Mode::train, 1);
    network.backward();
    network.parameters().store_dense();
    const auto states = network.parameters().state_values<float>();
    const auto gradient = network.parameters().gradients<float>();
    const auto r = static_cast<size_t>(rank.rank());
    statistics[r].assign(states.begin(), states.end());
    gradients[r].assign(gradient.begin(), gradient.end());
  });
  CHECK(statistics[0] != statistics[1]);
  CHECK(gradients[0] == gradients[1]);
  // Each rank's statistics, and its part of the gradient, are those of a network that has only
  // these images.
  std::vector<double> sum(gradients[0].size());
  for (const int64_t first : {0, 6}) {
    Network network(small_spec(), kernels::cpu_backend(), 12);
    network.initialise(9);
    const Batch half = {images.pixels.data() + first * 3 * 16 * 16, images.labels.data() + first,
                        6};
    network.load(half, kNormalization);
    network.forward(Mode::train, 1);
    network.backward();
    const auto states = network.parameters().state_values<float>();
    const auto& of_rank = statistics[first == 0 ? 0 : 1];
    CHECK(std::vector<float>(states.begin(), states.end()) == of_rank);
    network.parameters().store_dense();
    for (size_t i = 0; i < sum.size(); ++i)
      sum[i] += 0.5 * double{network.parameters().gradients<float>()[i]};
  }
  CHECK(distance(std::vector<double>(gradients[0].begin(), gradients[0].end()), sum) < 1e-6);
}

TEST_CASE("ranks: a loss that is measured inside an epoch is that of one rank") {
  // Each rank's batch norm has its own statistics by then, which the kernels of a shared batch must
  // not take for common ones. Afterwards, the statistics are as before.
  const Images images(kMaxBatch);
  const auto gradient_of = [&](Network& network) {
    network.initialise(9);
    network.load(images.first(12), kNormalization);
    network.forward(Mode::train, 1);
    const std::vector<float> before(network.parameters().state_values<float>().begin(),
                                    network.parameters().state_values<float>().end());
    MeanLoss loss{network, 1, [&](int64_t) { return images.first(kMaxBatch); }, kNormalization};
    Buffer sum = zeroed_scores(network.parameters());
    add_mean_gradient(loss, 1, sum);
    if (!std::ranges::equal(before, network.parameters().state_values<float>()))
      fail("the running statistics have changed");
    const auto* const values = sum.as<double>();
    return std::vector<double>(values, values + network.parameters().prunable_count());
  };
  Network alone(small_spec(), kernels::cpu_backend(), kMaxBatch);
  const std::vector<double> expected = gradient_of(alone);
  std::vector<std::vector<double>> gradients(2);
  run_on_ranks(2, [&](Communicator& rank) {
    Execution execution;
    execution.ranks = &rank;
    execution.sync_batch_norm = false;
    Network network(small_spec(), kernels::cpu_backend(), kMaxBatch, execution);
    gradients[static_cast<size_t>(rank.rank())] = gradient_of(network);
  });
  CHECK(gradients[0] == gradients[1]);
  CHECK(distance(gradients[0], expected) < 0.02);  // as in the checks of a step
}

TEST_CASE("ranks: every image of an evaluation counts once") {
  const Images images(kMaxBatch);
  Network alone(small_spec(), kernels::cpu_backend(), kMaxBatch);
  alone.initialise(9);
  alone.load(images.first(37), kNormalization);
  const kernels::LossSums expected = alone.forward(Mode::eval);
  for (const int size : {3, 5})
    run_on_ranks(size, [&](Communicator& rank) {
      Execution execution;
      execution.ranks = &rank;
      Network network(small_spec(), kernels::cpu_backend(), kMaxBatch, execution);
      network.initialise(9);
      network.load(images.first(37), kNormalization);
      const kernels::LossSums sums = network.forward(Mode::eval);
      if (sums.correct != expected.correct || std::abs(sums.loss - expected.loss) > 1e-9)
        fail("{} ranks: loss {} and {} correct, instead of {} and {}", size, sums.loss,
             sums.correct, expected.loss, expected.correct);
    });
}

TEST_CASE("ranks: sums of an epoch that a resumed run starts with are not multiplied") {
  run_on_ranks(3, [](Communicator& rank) {
    Execution execution;
    execution.ranks = &rank;
    Network network(small_spec(), kernels::cpu_backend(), kMaxBatch, execution);
    network.set_loss_sums({2.5, 7});
    const kernels::LossSums sums = network.loss_sums();
    if (sums.loss != 2.5 || sums.correct != 7) fail("{} and {}", sums.loss, sums.correct);
  });
}

}  // namespace
}  // namespace sculpt
