#include "tests/support/tiny_run.h"

#include <algorithm>
#include <utility>

#include "engine/core/random.h"
#include "engine/train/agreement.h"
#include "engine/train/execution_of_options.h"

namespace sculpt::testing {

TinySource::TinySource(int64_t size, int64_t batch, uint64_t seed, bool drop_last)
    : size_(size), batch_(batch), drop_last_(drop_last), seed_(seed) {
  normalization_.mean = {0.4f, 0.5f};
  normalization_.std = {0.2f, 0.3f};
}

void TinySource::start_epoch(int64_t epoch, int64_t first_step) {
  epoch_ = epoch;
  step_ = first_step;
}

Batch TinySource::next() {
  const int64_t begin = step_++ * batch_;
  const int64_t count = std::min(batch_, images_per_epoch() - begin);
  if (count <= 0) return {};
  const RandomStream random(seed_, Purpose::test, static_cast<uint64_t>(epoch_));
  const int64_t pixels = image_shape().count();
  images_.resize(static_cast<size_t>(count * pixels));
  labels_.resize(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    const int64_t image = (begin + i + epoch_) % size_;
    labels_[static_cast<size_t>(i)] = static_cast<int32_t>(image % 3);
    for (int64_t p = 0; p < pixels; ++p)
      images_[static_cast<size_t>(i * pixels + p)] = static_cast<uint8_t>(
          random.below(static_cast<uint64_t>(image * pixels + p), 100) + 60 * (image % 3));
  }
  return {images_.data(), labels_.data(), count};
}

NetworkSpec tiny_spec() {
  NetworkSpec spec;
  spec.image = {2, 5, 6};
  spec.classes = 3;
  spec.model = [](Builder& b, Value x) {
    x = b.batch_norm("bn1", b.conv("conv1", x, 5), {.relu = true});
    x = b.batch_norm("bn2", b.conv("conv2", x, 7, {.stride = 2}), {.relu = true});
    x = b.dropout(b.global_average_pool(x), 0.2);
    return b.linear("fc", x, 3);
  };
  return spec;
}

namespace {

Execution execution_on(Communicator& ranks, const ExecutionOptions& options) {
  Execution execution = execution_of(options);
  execution.ranks = &ranks;
  return execution;
}

}  // namespace

TinyRun::TinyRun(const std::filesystem::path& folder, Plan plan, TrainOptions train, int64_t images,
                 PruneOptions pruning, const std::string& config_hash,
                 std::function<void(ParameterArena&)> load_initial, OptimizerMaker optimizer,
                 std::vector<Hook*> hooks, Communicator& ranks, MaskOptions masks)
    : backend_(*test::tested_backends().front()),
      network_(tiny_spec(), backend_, train.images_at_a_time(),
               execution_on(ranks, train.execution)),
      source_(images, train.batch, 1, train.drop_last),
      test_(10, train.images_at_a_time(), 2),
      score_(12, 12, 3),
      statistics_(images, images, 1),
      store_(RunFolder(folder), config_hash) {
  if (ranks.is_root()) {
    RunFolder(folder).prepare("");
    files_ = PlanFiles::read(plan, 0);
    files_.fit_to(network_.parameters());
  } else {
    store_.write_nothing();
  }
  RunIdentity identity;
  identity.method = "custom";
  identity.seed = 5;
  identity.batch = train.batch;
  trainer_ = std::make_unique<Trainer>(
      RunParts{.network = network_,
               .backend = backend_,
               .train = source_,
               .test = test_,
               .score_batch =
                   [this](int64_t index) {
                     score_.start_epoch(index, 0);
                     return score_.next();
                   },
               .store = store_,
               .observer = observer_,
               .stop = [this, &ranks] { return any_rank(ranks, stop_now()); },
               .statistics_images = [this](int64_t first,
                                           int64_t count) { return statistics(first, count); },
               .load_initial = std::move(load_initial),
               .stored_network = [this](const Intervention& step) -> const StoredNetwork& {
                 return files_.of(step);
               },
               .make_optimizer = std::move(optimizer),
               .hooks = std::move(hooks),
               .ranks = ranks},
      RunSettings{.plan = std::move(plan),
                  .train = train,
                  .prune = std::move(pruning),
                  .masks = std::move(masks),
                  .identity = identity,
                  .profiled_steps = {}});
}

TrainOptions TinyRun::tiny_options() {
  TrainOptions train;
  train.epochs = 2;
  train.batch = 8;  // 22 images: two whole batches and a short one
  train.optim.lr = 0.1;
  train.optim.schedule = "triangular";
  return train;
}

PruneOptions TinyRun::tiny_pruning() {
  PruneOptions options;
  options.synflow_iterations = 6;
  return options;
}

void TinyRun::stop_after_step(int64_t number) {
  stop_when_ = [number](const RunState& state) { return state.steps >= number; };
}

void TinyRun::stop_before_plan_step(int64_t number) {
  stop_when_ = [number](const RunState& state) { return state.plan_step >= number; };
}

Batch TinyRun::statistics(int64_t first, int64_t count) {
  statistics_.start_epoch(0, 0);
  const Batch all = statistics_.next();
  return {all.images + first * statistics_.image_shape().count(), all.labels + first, count};
}

bool TinyRun::stop_now() {
  if (stop_when_ && stop_when_(trainer_->state())) return true;
  return stop_at_question_ >= 0 && questions_++ >= stop_at_question_;
}

}  // namespace sculpt::testing
