#pragma once
// The state that a node sees while it runs: how the pass over the graph runs, and where the
// activations lie.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "engine/autograd/blocks/block_position.h"
#include "engine/autograd/node.h"
#include "kernels/common/shared_batch.h"
#include "kernels/device/backend.h"

namespace sculpt {

/// Settings of the coming passes over a graph. They may be changed between passes.
struct PassSettings {
  uint64_t seed = 0;  ///< the seed of dropout's random numbers
  /// If false, dropout keeps all elements in training mode, too.
  bool dropout = true;
  /// The weight of this batch in batch norm's running statistics. It replaces the layer's own
  /// momentum.
  std::optional<float> statistics_momentum;
  /// If true, batch norm uses the statistics of the whole batch that several processes share. If
  /// false, it uses those of the process's own images.
  bool sync_batch_norm = true;
  /// If false, backward passes with running statistics (Mode::frozen) leave the gradients of batch
  /// norm's gamma and beta as they are, which saves a pass over its activations.
  bool norm_gradients = true;
};

/// The images that this process computes in a pass: a whole batch, or its share of a batch or of a
/// part of a step (core/batch_share.h).
struct PassImages {
  int64_t images = 0;
  int64_t first_image = 0;  ///< position of the first image in the batch of the step
  /// The images that all processes compute in this pass; must stay valid until the end of the
  /// backward pass. Null if this process computes all of them.
  const kernels::SharedBatch* shared = nullptr;
  /// The number of images of the step, if the step has several passes; 0: those of this pass.
  int64_t images_of_step = 0;
};

/// The places of activations in memory, as views of arrays that the graph owns. The arrays are
/// indexed by value.
struct ActivationViews {
  std::span<void* const> data;
  std::span<void* const> grad;  ///< null where the gradient is not in memory
  std::span<kernels::ChannelSums* const> sums;
  /// Null where the activation is written. Empty: every activation is written.
  std::span<kernels::DeferredActivation* const> deferred_data;
  /// Null where the gradient is written, or not needed.
  std::span<kernels::DeferredGradient* const> deferred_grad;
  std::span<kernels::GradientSums* const> gradient_sums;  ///< null where no node leaves sums
  std::span<const int64_t> block_bytes;  ///< bytes between neighbouring blocks of images
  std::span<const int64_t> row_bytes;    ///< bytes between neighbouring rows
  std::span<void* const> held;           ///< empty: patterns are not held
  void* workspace = nullptr;
};

/// A replay covers either the whole batch or one block of its images. The graph and the executor of
/// blocks fill in the members. Nodes read the settings and call the functions.
class Replay : public PassSettings {
 public:
  Mode mode = Mode::train;
  kernels::Launch launch;
  /// The number of the training step, which is the counter of dropout's random numbers. The number
  /// lies in the backend's memory.
  const uint64_t* step = nullptr;
  PassImages pass;
  ActivationViews memory;
  BlockPosition position;

  void* data(Value v) const {
    const ScratchEntry* entry = position.data_entry(v.index);
    return entry != nullptr ? in_scratch(*entry, v) : in_memory(memory.data, v);
  }
  /// Returns null if nothing needs the gradient of v (for example, if v holds the images), and if
  /// the gradient is deferred.
  void* grad(Value v) const {
    const ScratchEntry* entry = position.gradient_entry(v.index);
    return entry != nullptr ? in_scratch(*entry, v) : in_memory(memory.grad, v);
  }
  /// Both functions return the memory to which the node must also write data(v) or grad(v),
  /// bypassing the cache; null if no copy is needed.
  void* data_copy(Value v) const {
    const ScratchEntry* entry = position.data_entry(v.index);
    return entry != nullptr && entry->copied ? in_memory(memory.data, v) : nullptr;
  }
  void* grad_copy(Value v) const {
    const ScratchEntry* entry = position.gradient_entry(v.index);
    return entry != nullptr && entry->copied ? in_memory(memory.grad, v) : nullptr;
  }
  /// Returns true if the gradient of v is to be written with stores that bypass the cache.
  bool streams_grad(Value v) const { return position.streams(v.index); }
  /// The workspace of the kernels, of at least Node::workspace_bytes(). On blocks, all threads
  /// share it, and it has BlockPasses::block_workspace_bytes().
  void* workspace() const { return memory.workspace; }
  /// Returns the recorded copy of v, which is the gate of a node, while activation patterns are
  /// held (Graph::hold_patterns), and null at other times.
  const void* held(Value v) const {
    return memory.held.empty() ? nullptr : memory.held[static_cast<size_t>(v.index)];
  }
  /// Returns the buffer in which the producer of v leaves sums of v's channels for its consumers.
  /// The result is null in evaluation, if the producer cannot compute sums, or if no consumer uses
  /// them.
  kernels::ChannelSums* sums(Value v) const {
    return mode == Mode::train ? memory.sums[static_cast<size_t>(v.index)] : nullptr;
  }

  /// Returns the place where the node that computes v describes v, which it does not write; null if
  /// it writes v.
  kernels::DeferredActivation* deferred_data(Value v) const {
    return memory.deferred_data.empty() ? nullptr
                                        : memory.deferred_data[static_cast<size_t>(v.index)];
  }
  /// Returns the place where the only consumer of v describes the gradient of v, which it does not
  /// write; null if it writes the gradient.
  kernels::DeferredGradient* deferred_grad(Value v) const {
    return memory.deferred_grad[static_cast<size_t>(v.index)];
  }
  /// Returns the buffer in which the last node that writes the gradient of v leaves sums of the
  /// gradient for the node that computed v. Returns null outside of training, while activation
  /// patterns are held, and if no node leaves sums.
  kernels::GradientSums* gradient_sums(Value v) const {
    return mode == Mode::train && memory.held.empty()
               ? memory.gradient_sums[static_cast<size_t>(v.index)]
               : nullptr;
  }

  /// Returns the number of images that this process computes. launch.batch is the number of images
  /// in the block.
  int64_t images() const { return pass.images; }
  /// Returns the number of images of the pass in all processes.
  int64_t images_of_all() const {
    return pass.shared != nullptr ? pass.shared->images : pass.images;
  }
  /// Returns the number of images whose mean loss the step differentiates.
  int64_t images_of_step() const {
    return pass.images_of_step > 0 ? pass.images_of_step : images_of_all();
  }
  /// Returns the batch whose statistics batch norm uses, if they include images of other processes.
  const kernels::SharedBatch* statistics_of_all() const {
    return sync_batch_norm ? pass.shared : nullptr;
  }
  int64_t block() const { return position.block; }
  /// Returns the index of the thread that runs the block, in [0, thread_count()).
  int thread() const { return position.thread; }

 private:
  void* in_memory(std::span<void* const> whole, Value v) const {
    const auto index = static_cast<size_t>(v.index);
    if (whole[index] == nullptr) return nullptr;
    return static_cast<std::byte*>(whole[index]) + position.block * memory.block_bytes[index];
  }
  void* in_scratch(const ScratchEntry& entry, Value v) const {
    const auto index = static_cast<size_t>(v.index);
    std::byte* const block = entry.first + position.thread * memory.block_bytes[index];
    return entry.band ? block - position.first_row * memory.row_bytes[index] : block;
  }
};

}  // namespace sculpt
