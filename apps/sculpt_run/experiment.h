#pragma once
// Makes what a run works with from its options: data, network, backend.

#include <memory>
#include <string>

#include "apps/sculpt_run/run_options.h"
#include "data/split.h"
#include "engine/dist/single.h"
#include "engine/nn/network.h"
#include "engine/train/trainer.h"
#include "kernels/device/device.h"

namespace sculpt {

/// The data of a run, which several experiments may use.
struct RunData {
  data::DataSplits splits;
  std::string fingerprint;
};

/// Says what images are used for. Blank images suffice for plans and tables, which then need no
/// files.
enum class Images { real, blank };

/// Reads the data that the options name. Throws Error naming file and fix.
RunData load_run_data(const RunOptions& options, Images images = Images::real);

class Experiment {
 public:
  /// Builds the network. Throws Error naming the fix. The network and the sources are those of this
  /// rank. `ranks` must outlive the object.
  Experiment(const RunOptions& options, kernels::Device device, RunData data,
             Communicator& ranks = one_rank());

  Network& network() { return *network_; }
  const kernels::Backend& backend() const { return *device_.backend; }
  BatchSource& train() { return *train_; }
  BatchSource& test() { return *test_; }
  RunIdentity identity() const;
  /// Returns the class-balanced batch `index` for criteria that need data. The batch is valid until
  /// the next call.
  Batch score_batch(int64_t index);
  /// Returns images for prune.reestimate_batch_norm; see StatisticsImages.
  Batch statistics_images(int64_t first, int64_t count);
  /// Throws Error naming the class and the fix if a class has fewer than `per_class` training
  /// images. If labels are unknown, only the number of all images is checked.
  void require_images_to_score(int64_t per_class, bool labels_known) const;

 private:
  const RunOptions options_;
  const kernels::Device device_;
  const RunData data_;
  std::unique_ptr<BatchSource> train_, test_;
  std::unique_ptr<Network> network_;
  data::OwnedBatch score_batch_, statistics_images_;
  std::vector<int32_t> statistics_order_;  // made on first use
};

}  // namespace sculpt
