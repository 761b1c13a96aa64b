#pragma once
// A training step on random images, to be timed: load, forward, backward, update.

#include <cstdint>
#include <memory>
#include <string>

#include "apps/sculpt_bench/random_images.h"
#include "engine/core/step_recorder.h"
#include "engine/nn/batch_feed.h"
#include "engine/nn/network.h"
#include "engine/optim/optimizer.h"
#include "kernels/tuning/chooser.h"

namespace sculpt::bench {

struct StepOptions {
  std::string model = "resnet20";
  double width = 1;
  int64_t batch = 128;
  int64_t image_size = 32;
  int64_t classes = 10;
  std::string device = "cpu";  ///< same values as sculpt_run's --device
  /// TrainingStep sets the chooser: the device's one, or a new one for SparseKernels::tuned, which
  /// neither reads earlier choices nor keeps its own.
  Execution execution;
};

NetworkSpec network_spec(const StepOptions& options);

class TrainingStep {
 public:
  explicit TrainingStep(const StepOptions& options);
  /// Runs on `backend` instead of options.device.
  TrainingStep(const StepOptions& options, const kernels::Backend& backend);

  /// Runs one step. Adds the seconds that the step spends outside of the graph to the members
  /// below.
  void run();
  /// Waits for the steps that have been launched on a device.
  void finish() { network_->loss_sums(); }

  Network& network() { return *network_; }
  double load_seconds = 0;
  double update_seconds = 0;

 private:
  void prepare(const kernels::Backend& backend, const Execution& execution);

  StepOptions options_;
  std::unique_ptr<kernels::Chooser> tuned_;
  std::unique_ptr<Network> network_;
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<StepRecorder> recorder_;
  std::unique_ptr<RandomImages> source_;
  std::unique_ptr<BatchFeed> feed_;
};

}  // namespace sculpt::bench
