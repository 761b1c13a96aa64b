// A device can make batches from a resident data set, or the host makes and copies them. Training
// is the same, bit for bit.

#include "engine/nn/batch_feed.h"

#include <doctest/doctest.h>

#include "data/loader.h"
#include "engine/core/random.h"
#include "engine/core/step_recorder.h"
#include "engine/optim/sgd.h"
#include "tests/support/tested_backends.h"
#include "tests/support/tiny_run.h"

namespace {

using namespace sculpt;
using test::tested_backends;

/// Passes on the batches that the host makes and hides the data set, so that it cannot become
/// resident.
class HostOnly : public BatchSource {
 public:
  explicit HostOnly(BatchSource& source) : source_(source) {}
  ImageShape image_shape() const override { return source_.image_shape(); }
  int64_t classes() const override { return source_.classes(); }
  const Normalization& normalization() const override { return source_.normalization(); }
  int64_t size() const override { return source_.size(); }
  int64_t batch_size() const override { return source_.batch_size(); }
  void start_epoch(int64_t epoch, int64_t first_step) override {
    source_.start_epoch(epoch, first_step);
  }
  Batch next() override { return source_.next(); }

 private:
  BatchSource& source_;
};

data::Subset random_subset(const NetworkSpec& spec) {
  auto set = std::make_shared<data::Dataset>();
  set->shape = spec.image;
  set->classes = spec.classes;
  set->normalization = {{0.4f, 0.5f}, {0.2f, 0.3f}};
  constexpr int64_t kImages = 40;
  const RandomStream random(3, Purpose::test);
  for (int64_t i = 0; i < kImages * spec.image.count(); ++i)
    set->images.push_back(static_cast<uint8_t>(random.word(static_cast<uint64_t>(i))));
  data::Subset subset;
  for (int32_t i = 0; i < kImages; ++i) {
    set->labels.push_back(i % static_cast<int32_t>(spec.classes));
    if (i % 3 != 1) subset.indices.push_back(i);
  }
  subset.dataset = set;
  return subset;
}

struct Trained {
  std::vector<float> weights;
  kernels::LossSums sums;
};

/// Trains an epoch from its second step on, and then a whole epoch.
Trained train(BatchSource& source, const kernels::RecordingHooks& recording = {}) {
  Network network(testing::tiny_spec(), *tested_backends().front(), source.batch_size());
  network.initialise(1);
  Sgd sgd(network.parameters(), OptimOptions{});
  BatchFeed feed(network, source);
  StepRecorder recorder(recording);
  int64_t images = 0;
  uint64_t step = 0;
  for (const int64_t first_step : {1, 0}) {
    feed.start_epoch(5 - first_step, first_step);
    for (int64_t count = feed.next(); count > 0; count = feed.next()) {
      network.begin_step(step++);
      sgd.begin_step(0.1 / static_cast<double>(step));
      recorder.run({count}, [&] {
        feed.load();
        network.forward_adding(Mode::train);
        network.backward();
        sgd.step();
      });
      images += count;
    }
  }
  CHECK(images == 2 * source.size() - source.batch_size());
  const auto weights = network.parameters().weights();
  return {{weights.begin(), weights.end()}, network.loss_sums()};
}

TEST_CASE("batch feed: a resident data set trains as its copied batches do") {
  data::LoaderOptions options;
  options.batch = 6;
  options.seed = 9;
  for (const bool augmented : {false, true}) {
    CAPTURE(augmented);
    options.shuffle = augmented;
    if (augmented) options.augment = {2, true, 3};
    data::Loader loader(random_subset(testing::tiny_spec()), options);
    REQUIRE(loader.resident().has_value());
    HostOnly host(loader);
    const Trained on_device = train(loader);
    // A recorded step also makes its batch. The epoch, the place in the epoch and the learning rate
    // must not be fixed in the recording.
    const Trained recorded = train(loader, tested_backends().front()->recording);
    for (const Trained& other : {train(host), recorded}) {
      CHECK(on_device.weights == other.weights);
      CHECK(on_device.sums.loss == other.sums.loss);
      CHECK(on_device.sums.correct == other.sums.correct);
    }
    CHECK(on_device.sums.loss > 0);
  }
}

}  // namespace
