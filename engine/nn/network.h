#pragma once
// A network: parameters, the recorded training step, and the few operations training needs of it.

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/autograd/graph.h"
#include "engine/core/batch_source.h"
#include "engine/core/readback.h"
#include "engine/core/staging.h"
#include "engine/nn/builder.h"
#include "engine/parameters/parameter_arena.h"
#include "kernels/loss.h"

namespace sculpt {

namespace ops {
class SoftmaxCrossEntropy;
}

/// Records a model: from the images to the logits. Supplied by models/.
using ModelFunction = std::function<Value(Builder&, Value images)>;

struct NetworkSpec {
  ModelFunction model;
  ImageShape image;
  int64_t classes = 10;
  float label_smoothing = 0;
  bool prune_first_conv = true;  ///< off: the first convolution is never pruned
  bool prune_classifier = true;  ///< off: the last linear layer is never pruned
};

class Network {
 public:
  Network(NetworkSpec spec, const kernels::Backend& backend, int64_t max_batch);

  /// The same network on another backend or batch size, with the same weights, state and masks.
  std::unique_ptr<Network> rebuild(const kernels::Backend& backend, int64_t max_batch);

  const NetworkSpec& spec() const { return spec_; }
  ParameterArena& parameters() { return parameters_; }
  const ParameterArena& parameters() const { return parameters_; }
  Graph& graph() { return *graph_; }
  const Graph& graph() const { return *graph_; }
  int64_t max_batch() const { return graph_->max_batch(); }

  /// By the name of the weight: which kernels its layer runs on, where there is a choice.
  std::map<std::string, PassKernels> pass_kernels() const;

  /// Fills weights from the initialisation each parameter was registered with, as a function of
  /// (seed, parameter, element); resets running statistics, momentum and masks.
  void initialise(uint64_t seed);

  /// Copies a batch in: uint8 images normalised by the backend, and labels.
  void load(const Batch& batch, const Normalization& normalization);
  /// The same from a data set in the backend's memory, where `at` lies too. Only launches.
  void load_resident(const kernels::ResidentSet& set, const kernels::ResidentBatch* at,
                     int64_t batch);
  /// Float images, [batch][C][H][W], unlabelled.
  void load_values(const float* images, int64_t batch);

  /// Runs the loaded batch. Returns sums over its images. The loss uses label smoothing in training
  /// mode only.
  kernels::LossSums forward(Mode mode, uint64_t step = 0);
  /// The same in two parts that do not wait for a device. First, in training mode only, the number
  /// of the step; everything that kernels will need is then in the backend's memory.
  void begin_step(uint64_t step);
  /// Then the launches, which add to loss_sums().
  void forward_adding(Mode mode);
  /// Waits for the device.
  kernels::LossSums loss_sums() const;
  /// Waits for nothing; on a device only.
  Readback<kernels::LossSums> read_loss_sums();
  void set_loss_sums(const kernels::LossSums& sums);
  /// Gradients of the mean loss of the batch, into parameters().gradients().
  void backward() { graph_->backward(); }
  /// Gradients of `scale` times the sum of all logits (SynFlow's R).
  void backward_from_logit_sum(float scale = 1);
  /// Logits of the last forward, [batch][classes]; before backward(), which may reuse their memory.
  std::vector<float> logits();

 private:
  kernels::Launch launch() const { return {batch_, graph_->backend().stream}; }

  NetworkSpec spec_;
  ParameterArena parameters_;
  std::vector<Initialisation> initialisations_;
  std::unique_ptr<Graph> graph_;
  Value images_, logits_;
  ops::SoftmaxCrossEntropy* loss_ = nullptr;
  void check_batch(int64_t batch) const;
  const int32_t* send_labels();

  Staging pixels_, values_, mean_, std_;
  std::vector<int32_t> host_labels_;
  Buffer labels_;  // [max_batch], on a device
  int64_t batch_ = 0;
};

}  // namespace sculpt
