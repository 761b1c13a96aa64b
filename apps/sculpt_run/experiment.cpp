#include "apps/sculpt_run/experiment.h"

#include "data/fingerprint.h"
#include "data/loader.h"
#include "data/registry.h"
#include "data/score_images.h"
#include "engine/core/error.h"
#include "engine/train/execution_of_options.h"
#include "kernels/common/parallel.h"

namespace sculpt {
namespace {

NetworkSpec spec_of(const RunOptions& options, const BatchSource& source) {
  NetworkSpec spec;
  spec.model = models::make_model(options.model, source.classes());
  spec.image = source.image_shape();
  spec.classes = source.classes();
  spec.label_smoothing = static_cast<float>(options.train.label_smoothing);
  spec.prune_first_conv = options.prune.first_conv;
  spec.prune_classifier = options.prune.classifier;
  spec.exempt = options.prune.exempt;
  return spec;
}

void require_statistics_images(int64_t count, int64_t training_images) {
  if (count == 1 || count > training_images)
    fail(
        "prune.reestimate_batch_norm = {} is not possible with {} training images; use 0 (off), or "
        "2 to {}",
        count, training_images, training_images);
}

uint64_t seed_of(const RunOptions& options) {
  return static_cast<uint64_t>(options.seed);
}

data::LoaderOptions loader_options(const RunOptions& options, const Communicator& ranks) {
  data::LoaderOptions loader;
  loader.batch = options.train.batch;
  loader.seed = seed_of(options);
  loader.drop_last = options.train.drop_last;
  loader.rank = ranks.rank();
  loader.ranks = ranks.size();
  loader.images_at_a_time = options.train.images_at_a_time();
  return loader;
}

data::LoaderOptions eval_loader_options(const RunOptions& options, const Communicator& ranks) {
  data::LoaderOptions loader = loader_options(options, ranks);
  loader.batch = options.train.images_at_a_time();
  return loader;
}

Execution execution_of_rank(const RunOptions& options, kernels::Chooser* chooser,
                            Communicator& ranks) {
  Execution execution = execution_of(options.train.execution, chooser);
  execution.ranks = &ranks;
  execution.gradients = {options.dist.exchange == "whole" ? Exchange::whole : Exchange::kept,
                         static_cast<int64_t>(options.dist.bucket_mb * 1e6)};
  execution.sync_batch_norm =
      options.dist.syncs_batch_norm(options.train.images_at_a_time(), ranks.size());
  return execution;
}

}  // namespace

RunData load_run_data(const RunOptions& options, Images images) {
  RunData data;
  data::TrainTest sets = images == Images::blank ? data::blank_dataset(options.data)
                                                 : data::load_dataset(options.data);
  data.splits = data::split(std::move(sets), options.data, seed_of(options));
  // The labels include those of data.label_noise.
  if (images == Images::real)
    data.fingerprint = data::fingerprint(*data.splits.train.dataset, *data.splits.test.dataset);
  return data;
}

Experiment::Experiment(const RunOptions& options, kernels::Device device, RunData data,
                       Communicator& ranks)
    : options_(options),
      device_(std::move(device)),
      data_(std::move(data)),
      train_(data::make_train_loader(data_.splits.train, options.data,
                                     loader_options(options, ranks))),
      test_(data::make_eval_loader(data_.splits.eval(), eval_loader_options(options, ranks))),
      network_(std::make_unique<Network>(
          spec_of(options, *train_), *device_.backend,
          std::min(options.train.images_at_a_time(), std::max(train_->size(), test_->size())),
          execution_of_rank(options, device_.chooser, ranks))) {
  require_statistics_images(options.prune.reestimate_batch_norm, train_->size());
}

RunIdentity Experiment::identity() const {
  RunIdentity identity;
  identity.method = options_.method.method;
  identity.seed = seed_of(options_);
  identity.model = options_.model.name;
  identity.data = options_.data.name;
  identity.device = device_.name;
  identity.device_description = device_.description;
  identity.backend = std::string(device_.backend->name);
  identity.libraries = device_.libraries;
  identity.threads = thread_count();
  identity.batch = options_.train.batch;
  identity.evaluated_on = data_.splits.val.size() > 0 ? "validation" : "test";
  identity.inputs.data_name = options_.data.name;
  identity.inputs.data_is_made = data::labels_without_files(options_.data);
  identity.inputs.data = data_.fingerprint;
  return identity;
}

void Experiment::require_images_to_score(int64_t per_class, bool labels_known) const {
  data::require_images_to_score(data_.splits, options_.data, per_class, labels_known);
}

Batch Experiment::score_batch(int64_t index) {
  score_batch_ = data::class_balanced_batch(
      data_.splits.train, options_.prune.score_images_per_class, seed_of(options_), index);
  return score_batch_.view();
}

Batch Experiment::statistics_images(int64_t first, int64_t count) {
  if (statistics_order_.empty())
    statistics_order_ = data::statistics_order(data_.splits.train, seed_of(options_));
  statistics_images_ = data::ordered_batch(data_.splits.train, statistics_order_, first, count);
  return statistics_images_.view();
}

}  // namespace sculpt
