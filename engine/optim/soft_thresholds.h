#pragma once
// SoftThresholds trains a threshold for each prunable layer (STR, Kusupati et al. 2020). An
// optimizer with soft thresholds trains the array "raw", v, and the network computes with
//   w = sign(v) * max(|v| - sigmoid(s), 0),
// where s is the trained number of the layer. kernels/soft_threshold.h has the gradients and the
// update of s. The array "momentum", and "second_moment" of AdamW, are then those of v. Parameters
// that cannot be pruned have w = v.
//
// The weight decay of s is optim.weight_decay, as in the paper. It pulls s towards 0 and so raises
// the threshold, from a very small one at first. The gradient of s pushes against it where large
// weights suffer. optim.clip_norm counts the gradients of v alone, and scales those of s as well.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "engine/core/mirrored_buffer.h"
#include "engine/optim/optim_options.h"
#include "engine/parameters/parameter_arena.h"

namespace sculpt {

/// Throws Error that names the setting and the fix if an optimizer with these options cannot train
/// soft thresholds: with HAM, Sign-In or an average of weights.
void require_soft_thresholds(const OptimOptions& options);

class SoftThresholds {
 public:
  /// Adds the array "raw" to the arena, which must outlive this object. The thresholds are off.
  explicit SoftThresholds(ParameterArena& parameters);

  /// Returns true while the thresholds are trained.
  bool active() const { return active_; }
  /// Switches the thresholds on: v becomes the weights, s becomes `initial` in every layer, and the
  /// weights become what is behind the thresholds.
  void begin(double initial);
  /// Switches the thresholds off. The weights stay, and v and s are forgotten.
  void end();

  /// Returns the threshold of each prunable layer, in the order of the parameters. Only while the
  /// thresholds are on. Waits for a device.
  std::vector<double> thresholds() const;

  // The optimizer calls these functions in each step, while the thresholds are on.

  /// Copies the tables to the device, so that a recorded step finds them there.
  void begin_step();
  /// Replaces the gradients of w by those of v, and computes those of the thresholds.
  void replace_gradients();
  /// Returns v in the current layout of the arena.
  void* edit_raw();
  /// Updates the thresholds, and computes the weights from v, after v has been updated.
  void finish_step(const kernels::UpdateScalars* scalars, const kernels::UpdateOptions& options,
                   float weight_decay);

  /// Adds what a checkpoint must hold besides the arrays: s and its moments as hexadecimal numbers,
  /// with the key "threshold.<parameter>". Adds nothing while the thresholds are off.
  void save(std::map<std::string, std::string>& values) const;
  /// Restores what save() added. The thresholds are off if there is nothing. Throws Error if the
  /// value of a layer is missing or is not three numbers.
  void restore(const std::map<std::string, std::string>& values);

 private:
  void follow_layout();
  kernels::SoftThresholdArena arena();
  /// Sets the threshold of each layer from its s.
  void set(const std::vector<kernels::SoftThreshold>& layers);
  const kernels::SoftThreshold* layers() const;

  ParameterArena& parameters_;
  OptimizerArrayId raw_;
  std::vector<ParameterId> prunable_;
  bool active_ = false;
  SharedLayout layout_;  // the layout that runs_ describe
  int64_t run_count_ = 0;
  MirroredBuffer runs_;    // elements are kernels::SoftThresholdRun
  MirroredBuffer layers_;  // a kernels::SoftThreshold for each prunable layer
  Buffer workspace_;
};

}  // namespace sculpt
