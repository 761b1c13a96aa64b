#pragma once
// A network has parameters, a recorded training step, and the operations that training uses.
//
// Ranks. Several processes (Execution::ranks) may share each batch. Every rank has the whole
// network and computes some images of the batch. All functions then speak of whole batches: load()
// takes a whole batch, or this rank's share of it; backward() leaves the gradients of the whole
// batch in every rank; loss_sums() are those of the whole batch. All ranks call the same functions
// in the same order, so they take the same steps.
//
// Parts. A step whose batch is larger than max_batch() is computed in parts (StepPart): for each
// part, load it and run a forward and a backward pass. Batch norm uses the statistics of each part.
// After the last part, the gradients and loss_sums() are those of the whole batch.

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/autograd/graph.h"
#include "engine/core/batch_share.h"
#include "engine/core/batch_source.h"
#include "engine/core/readback.h"
#include "engine/core/staging.h"
#include "engine/nn/builder.h"
#include "engine/nn/execution.h"
#include "engine/nn/gradient_accumulator.h"
#include "engine/nn/gradient_reducer.h"
#include "engine/nn/rank_sums.h"
#include "engine/parameters/parameter_arena.h"
#include "kernels/loss.h"
#include "kernels/tuning/pass_kernels.h"

namespace sculpt {

namespace ops {
class SoftmaxCrossEntropy;
}

/// Records a model, from the images to the logits. models/ supplies these functions.
using ModelFunction = std::function<Value(Builder&, Value images)>;

struct NetworkSpec {
  ModelFunction model;
  ImageShape image;
  int64_t classes = 10;
  float label_smoothing = 0;
  bool prune_first_conv = true;  ///< if false, the first convolution is never pruned
  bool prune_classifier = true;  ///< if false, the last linear layer is never pruned
  /// Layers that are never pruned: names of layers or of their weights ("fc", "fc.weight"), or
  /// patterns in which * stands for any characters.
  std::vector<std::string> exempt = {};
};

class Network {
 public:
  /// Throws Error naming the nearest layer if a name or pattern of spec.exempt matches no layer.
  Network(NetworkSpec spec, const kernels::Backend& backend, int64_t max_batch,
          Execution execution = {});

  /// Returns the same network on another backend or with another batch size, with the same weights,
  /// state, masks and execution.
  std::unique_ptr<Network> rebuild(const kernels::Backend& backend, int64_t max_batch);
  /// Returns the same network with another execution.
  std::unique_ptr<Network> rebuild(const kernels::Backend& backend, int64_t max_batch,
                                   const Execution& execution);

  const NetworkSpec& spec() const { return spec_; }
  const Execution& execution() const { return execution_; }
  ParameterArena& parameters() { return parameters_; }
  const ParameterArena& parameters() const { return parameters_; }
  Graph& graph() { return *graph_; }
  const Graph& graph() const { return *graph_; }
  /// Returns the number of images of the largest whole batch.
  int64_t max_batch() const { return max_batch_; }
  /// Returns the number of parts in which a step of `images` is computed.
  int parts_of(int64_t images) const {
    return static_cast<int>(kernels::ceil_div(images, max_batch_));
  }
  /// Returns the images of a batch of `images` that this process computes in a part.
  Share share_of_part(int64_t images, const StepPart& part) const;

  /// Returns the kernels of each layer that has a choice of kernels, keyed by the name of the
  /// layer's weight.
  std::map<std::string, kernels::PassKernels> pass_kernels() const;
  /// Returns true if at least one pass of a layer runs on kernels that skip masked weights.
  bool skips_masked() const;

  /// Fills weights from the initialisation each parameter was registered with, as a function of
  /// (seed, parameter, element); resets running statistics, momentum and masks.
  void initialise(uint64_t seed);
  /// Returns the weights that initialise(seed) would set, by global index. Changes nothing.
  std::vector<float> initial_weights(uint64_t seed) const;

  /// Copies a batch, or a part of it, into the network: uint8 images, which the backend normalises,
  /// and labels. Of a whole batch, the network takes its share.
  void load(const Batch& batch, const Normalization& normalization, const StepPart& part = {});
  /// Loads the network's share of a batch of `batch` images, or a part of it, from a data set in
  /// the backend's memory. `at` is the place of the images, and lies in the backend's memory, too.
  /// The function only launches kernels.
  void load_resident(const kernels::ResidentSet& set, const kernels::ResidentBatch* at,
                     int64_t batch, const StepPart& part = {});
  /// Loads float images, [batch][C][H][W], without labels. All ranks compute the same images.
  void load_values(const float* images, int64_t batch);

  /// Runs the loaded batch and returns sums over its images. The loss uses label smoothing in
  /// training mode only.
  kernels::LossSums forward(Mode mode, uint64_t step = 0);
  /// begin_step() and forward_adding() do the work of forward() without waiting for a device. Call
  /// begin_step() first, in training mode only, with the number of the step. Afterwards, everything
  /// that the kernels need is in the backend's memory.
  void begin_step(uint64_t step);
  /// Launches the kernels of the forward pass, which add to loss_sums().
  void forward_adding(Mode mode);
  /// Returns the sums; waits for the device.
  kernels::LossSums loss_sums() const;
  /// Reads this process's share of the sums without waiting; only on a device.
  Readback<kernels::LossSums> read_loss_sums();
  /// Adds up the sums of all ranks.
  kernels::LossSums add_up(kernels::LossSums sums) const;
  void set_loss_sums(const kernels::LossSums& sums);
  /// Makes the running statistics of batch norm the mean of those of all ranks. They differ if
  /// batch norm uses the statistics of each rank's own images.
  void average_statistics();
  /// Computes the gradients of the mean loss of the batch and writes them to
  /// parameters().gradients(); in a step of several parts, the last part does. Gradients of masked
  /// weights are not defined, unless parameters().full_gradients() were requested.
  void backward();
  /// Computes the gradients of `scale` times the sum of all logits (SynFlow's R).
  void backward_from_logit_sum(float scale = 1);
  /// Returns the logits of the images that this process computed in the last forward pass,
  /// [images][classes]. Call it before backward(), which may reuse their memory.
  std::vector<float> logits();

 private:
  kernels::Launch launch() const { return {pass_.images, graph_->backend().stream}; }
  void start_pass(int64_t images, const StepPart& part);
  const int32_t* send_labels();

  NetworkSpec spec_;
  Execution execution_;
  ParameterArena parameters_;
  std::vector<Initialisation> initialisations_;
  std::unique_ptr<Graph> graph_;
  Value images_, logits_;
  ops::SoftmaxCrossEntropy* loss_ = nullptr;
  Staging pixels_, values_, mean_, std_;
  std::vector<int32_t> host_labels_;
  Buffer labels_;  // [max_batch]; used on a device only
  int64_t max_batch_;
  RankSums rank_sums_;
  GradientAccumulator accumulator_;
  GradientReducer reducer_;
  kernels::SharedBatch shared_;  // the images of all ranks, of which pass_ has this rank's
  PassImages pass_;
  StepPart part_;
};

}  // namespace sculpt
