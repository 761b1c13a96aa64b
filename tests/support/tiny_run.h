#pragma once
// A network and a data set small enough to run whole plans in a test.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/run/plan_files.h"
#include "engine/train/trainer.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tested_backends.h"

namespace sculpt::testing {

/// Random images whose mean brightness tells the class; order and pixels depend on (epoch, index).
class TinySource : public BatchSource {
 public:
  TinySource(int64_t size, int64_t batch, uint64_t seed, bool drop_last = false);
  ImageShape image_shape() const override { return {2, 5, 6}; }
  int64_t classes() const override { return 3; }
  const Normalization& normalization() const override { return normalization_; }
  int64_t size() const override { return size_; }
  int64_t batch_size() const override { return batch_; }
  bool drops_last() const override { return drop_last_; }
  void start_epoch(int64_t epoch, int64_t first_step) override;
  Batch next() override;

 private:
  int64_t size_, batch_;
  bool drop_last_;
  int64_t epoch_ = 0, step_ = 0;
  uint64_t seed_;
  Normalization normalization_;
  std::vector<uint8_t> images_;
  std::vector<int32_t> labels_;
};

NetworkSpec tiny_spec();

/// One process's view of a run: a fresh network and trainer on a folder.
class TinyRun {
 public:
  static constexpr const char* kHash = "0123456789abcdef";

  TinyRun(const std::filesystem::path& folder, Plan plan, TrainOptions train = tiny_options(),
          int64_t images = 22, PruneOptions pruning = tiny_pruning(),
          const std::string& config_hash = kHash,
          std::function<void(ParameterArena&)> load_initial = {},
          OptimizerMaker optimizer = make_optimizer, std::vector<Hook*> hooks = {},
          Communicator& ranks = one_rank(), MaskOptions masks = {});

  static TrainOptions tiny_options();
  static PruneOptions tiny_pruning();

  // The trainer asks whether to stop before each step of the plan, after each training step, and
  // for each batch of an evaluation. These functions choose the moment at which the answer is yes.
  /// Chooses the n-th moment at which the trainer asks, counted from 0; -1 chooses none. This
  /// function is for tests that go through all moments. Other tests name the moment.
  void stop_at_question(int64_t n) { stop_at_question_ = n; }
  /// Chooses the moment after the training step with this number, counted from 1 since the start of
  /// the run.
  void stop_after_step(int64_t number);
  /// Chooses the moment before the step of the plan with this number, counted from 0.
  void stop_before_plan_step(int64_t number);

  Trainer& trainer() { return *trainer_; }
  Network& network() { return network_; }
  TinySource& source() { return source_; }
  RunStore& store() { return store_; }
  /// Returns the warnings that the run has given so far.
  const std::vector<std::string>& warnings() const { return observer_.warnings; }

  Batch statistics(int64_t first, int64_t count);

 private:
  bool stop_now();

  const kernels::Backend& backend_;
  Network network_;
  TinySource source_, test_, score_, statistics_;
  RunStore store_;
  PlanFiles files_;
  struct Observer : RunObserver {
    void on_warning(const std::string& warning) override { warnings.push_back(warning); }
    std::vector<std::string> warnings;
  };
  Observer observer_;
  int64_t stop_at_question_ = -1, questions_ = 0;
  std::function<bool(const RunState&)> stop_when_;
  std::unique_ptr<Trainer> trainer_;
};

}  // namespace sculpt::testing
