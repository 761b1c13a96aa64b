// Steps that are computed in parts, against the same steps in one piece and against the parts
// themselves.

#include <cmath>
#include <doctest/doctest.h>

#include "engine/core/error.h"
#include "engine/nn/network.h"
#include "tests/nn/small_network.h"
#include "tests/support/tested_backends.h"
#include "tests/support/thread_ranks.h"

namespace sculpt {
namespace {

using testing::distance;
using testing::Images;
using testing::kept_gradients;
using testing::kNormalization;
using testing::mask_half;
using testing::run_on_ranks;
using testing::small_spec;

constexpr int64_t kImages = 23;

/// The numbers that a step leaves in the network.
struct Step {
  std::vector<double> gradients, full;
  double loss = 0;
  int64_t correct = 0;
};

/// Computes a step of a network, in parts where the network is small.
template <class T>
Step step_of(Network& network, const Batch& batch, bool full = false) {
  ParameterArena& parameters = network.parameters();
  if (full) parameters.full_gradients().request();
  network.set_loss_sums({});
  const int parts = network.parts_of(batch.count);
  for (int index = 0; index < parts; ++index) {
    network.load(batch, kNormalization, {index, parts});
    network.begin_step(4);
    network.forward_adding(Mode::train);
    network.backward();
  }
  Step step;
  if (full) {
    const auto values = parameters.full_gradients().values<T>();
    step.full.assign(values.begin(), values.end());
  }
  step.gradients = kept_gradients<T>(parameters);
  const kernels::LossSums sums = network.loss_sums();
  step.loss = sums.loss;
  step.correct = sums.correct;
  return step;
}

std::unique_ptr<Network> make_network(const kernels::Backend& backend, const char* model,
                                      int64_t max_batch, Communicator& ranks = one_rank(),
                                      SparseKernels sparse = SparseKernels::off) {
  Execution execution;
  execution.ranks = &ranks;
  execution.layers.sparse = sparse;
  execution.gradients.bucket_bytes = 4000;
  auto network = std::make_unique<Network>(small_spec(0.1, model), backend, max_batch, execution);
  network->initialise(9);
  mask_half(*network);
  return network;
}

/// LeNet has no batch norm, whose statistics are those of a part. It has dropout, whose masks do
/// not depend on the parts.
template <class T>
void check_same_as_in_one_piece(const kernels::Backend& backend, SparseKernels sparse,
                                double bound) {
  const Images images(kImages);
  const auto whole = make_network(backend, "lenet", kImages, one_rank(), sparse);
  const Step expected = step_of<T>(*whole, images.first(kImages), true);
  // 23 images in 2, 3 and 6 parts; the parts differ by an image.
  for (const int64_t largest : {12, 8, 4})
    for (const int size : {1, 2, 3}) {
      CAPTURE(backend.name);
      CAPTURE(largest);
      CAPTURE(size);
      std::vector<Step> steps(static_cast<size_t>(size)), second = steps, full = steps;
      run_on_ranks(size, [&](Communicator& rank) {
        const auto network = make_network(backend, "lenet", largest, rank, sparse);
        const auto at = static_cast<size_t>(rank.rank());
        steps[at] = step_of<T>(*network, images.first(kImages));
        full[at] = step_of<T>(*network, images.first(kImages), true);
        second[at] = step_of<T>(*network, images.first(kImages));
      });
      for (size_t r = 0; r < steps.size(); ++r) {
        CHECK(distance(steps[r].gradients, expected.gradients) < bound);
        CHECK(steps[r].gradients == steps[0].gradients);
        CHECK(second[r].gradients == steps[0].gradients);
        CHECK(distance(full[r].gradients, expected.gradients) < bound);
        CHECK(distance(full[r].full, expected.full) < bound);
        CHECK(steps[r].loss == doctest::Approx(expected.loss).epsilon(1e-5));
        CHECK(steps[r].correct == expected.correct);
      }
    }
}

TEST_CASE("parts of a step: without batch norm, the gradients are those of the whole batch") {
  check_same_as_in_one_piece<double>(kernels::reference_backend(), SparseKernels::off, 1e-11);
  for (const kernels::Backend* backend : test::tested_backends())
    for (const SparseKernels sparse : {SparseKernels::off, SparseKernels::on})
      check_same_as_in_one_piece<float>(*backend, sparse, 0.02);
}

TEST_CASE("parts of a step: with batch norm, the gradients are the mean of those of the parts") {
  constexpr int64_t kBatch = 24, kPart = 8;
  const Images images(kBatch);
  const auto& backend = kernels::reference_backend();
  const auto parts = make_network(backend, "resnet20", kPart);
  const Step step = step_of<double>(*parts, images.first(kBatch));
  const auto states = parts->parameters().state_values<double>();

  const auto alone = make_network(backend, "resnet20", kPart);
  std::vector<double> mean(step.gradients.size());
  double loss = 0;
  for (int64_t first = 0; first < kBatch; first += kPart) {
    const Batch batch = {images.pixels.data() + first * 3 * 16 * 16, images.labels.data() + first,
                         kPart};
    const Step part = step_of<double>(*alone, batch);
    loss += part.loss;
    for (size_t i = 0; i < mean.size(); ++i)
      mean[i] += part.gradients[i] * kPart / kBatch;
  }
  CHECK(distance(step.gradients, mean) < 1e-12);
  CHECK(step.loss == doctest::Approx(loss));
  CHECK(std::ranges::equal(states, alone->parameters().state_values<double>()));
  CHECK(parts->parameters().batches_tracked == 3);
}

TEST_CASE("parts of a step: with batch norm, several ranks compute the step of one") {
  // 23 images in parts of 8, 8 and 7; 4 ranks have 1 to 2 images of a part, 9 ranks none or one.
  const Images images(kImages);
  const auto& backend = kernels::reference_backend();
  const auto alone = make_network(backend, "resnet20", 8);
  const Step expected = step_of<double>(*alone, images.first(kImages));
  const auto statistics = alone->parameters().state_values<double>();
  for (const int size : {2, 4, 9}) {
    CAPTURE(size);
    std::vector<Step> steps(static_cast<size_t>(size));
    run_on_ranks(size, [&](Communicator& rank) {
      const auto network = make_network(backend, "resnet20", 8, rank);
      steps[static_cast<size_t>(rank.rank())] = step_of<double>(*network, images.first(kImages));
      const auto own = network->parameters().state_values<double>();
      for (size_t i = 0; i < statistics.size(); ++i)
        if (std::abs(own[i] - statistics[i]) > 1e-11) fail("statistic {}: {}", i, own[i]);
    });
    for (const Step& step : steps) {
      CHECK(distance(step.gradients, expected.gradients) < 1e-10);
      CHECK(step.loss == doctest::Approx(expected.loss));
    }
  }
}

TEST_CASE("parts of a step: a batch that is too large is refused where parts are not computed") {
  const Images images(kImages);
  const auto network = make_network(kernels::cpu_backend(), "lenet", 8);
  CHECK_THROWS_WITH_AS(network->load(images.first(kImages), kNormalization),
                       doctest::Contains("a batch of 23 in 1 parts in a network for 8"), Error);
}

}  // namespace
}  // namespace sculpt
