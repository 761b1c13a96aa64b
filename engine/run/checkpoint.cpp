#include "engine/run/checkpoint.h"

#include <algorithm>
#include <iterator>
#include <span>
#include <vector>

#include "engine/core/error.h"

namespace sculpt {
namespace {

using safetensors::Dtype;
using safetensors::Tensor;

constexpr std::string_view kMean = ".running_mean";
constexpr std::string_view kTracked = ".num_batches_tracked";

std::string mask_name(const Parameter& p) {
  return p.name + ".mask";
}

/// The arrays that a checkpoint stores. `Byte` is const if they are written to a file.
template <class Byte>
struct Arrays {
  std::span<Byte> weights, states, batches_tracked;
  std::vector<std::span<Byte>> optimizer;
};

Arrays<const std::byte> arrays_of(const ParameterArena& arena) {
  Arrays<const std::byte> arrays{std::as_bytes(arena.weights<float>()),
                                 std::as_bytes(arena.state_values<float>()),
                                 std::as_bytes(std::span(&arena.batches_tracked, 1)),
                                 {}};
  for (OptimizerArrayId id = 0; id < arena.optimizer_array_count(); ++id)
    arrays.optimizer.push_back(std::as_bytes(arena.optimizer_values<float>(id)));
  return arrays;
}

Arrays<std::byte> editable_arrays_of(ParameterArena& arena) {
  Arrays<std::byte> arrays{std::as_writable_bytes(arena.edit_weights<float>()),
                           std::as_writable_bytes(arena.edit_state_values<float>()),
                           std::as_writable_bytes(std::span(&arena.batches_tracked, 1)),
                           {}};
  for (OptimizerArrayId id = 0; id < arena.optimizer_array_count(); ++id)
    arrays.optimizer.push_back(std::as_writable_bytes(arena.edit_optimizer_values<float>(id)));
  return arrays;
}

/// A tensor of a checkpoint and the memory that holds its data.
template <class Byte>
struct Entry {
  std::string name;
  Dtype dtype;
  std::vector<int64_t> shape;
  std::span<Byte> memory;
};

/// All tensors of a checkpoint but the masks: the one list that reading and writing share.
template <class Byte>
std::vector<Entry<Byte>> entries(const ParameterArena& arena, const CheckpointContent& content,
                                 const Arrays<Byte>& arrays) {
  const auto floats = [](std::span<Byte> array, int64_t offset, int64_t count) {
    return array.subspan(static_cast<size_t>(offset) * sizeof(float),
                         static_cast<size_t>(count) * sizeof(float));
  };
  std::vector<Entry<Byte>> list;
  for (const Parameter& p : arena.parameters())
    list.push_back({p.name, Dtype::f32, p.shape, floats(arrays.weights, p.offset, p.count)});
  for (const StateArray& s : arena.states()) {
    list.push_back({s.name, Dtype::f32, {s.count}, floats(arrays.states, s.offset, s.count)});
    if (s.name.ends_with(kMean))
      list.push_back({s.name.substr(0, s.name.size() - kMean.size()) + std::string(kTracked),
                      Dtype::i64,
                      {},
                      arrays.batches_tracked});
  }
  if (content.optimizer)
    for (OptimizerArrayId id = 0; id < arena.optimizer_array_count(); ++id)
      for (const Parameter& p : arena.parameters())
        list.push_back({"optimizer." + arena.optimizer_array_name(id) + "." + p.name, Dtype::f32,
                        p.shape,
                        floats(arrays.optimizer[static_cast<size_t>(id)], p.offset, p.count)});
  return list;
}

/// The masks of a checkpoint.
std::vector<Entry<const std::byte>> mask_entries(const ParameterArena& arena,
                                                 const CheckpointContent& content) {
  std::vector<Entry<const std::byte>> list;
  if (!content.masks) return list;
  for (const Parameter& p : arena.parameters())
    if (p.prunable)
      list.push_back({mask_name(p), Dtype::u8, p.shape,
                      std::as_bytes(ParameterArena::slice(arena.masks(), p))});
  return list;
}

std::vector<Entry<const std::byte>> all_entries(const ParameterArena& arena,
                                                const CheckpointContent& content) {
  auto list = entries(arena, content, arrays_of(arena));
  std::ranges::move(mask_entries(arena, content), std::back_inserter(list));
  return list;
}

}  // namespace

void write_checkpoint(const std::filesystem::path& path, ParameterArena& parameters,
                      const CheckpointContent& content, const safetensors::Metadata& metadata) {
  parameters.store_dense();
  std::vector<Tensor> tensors;
  for (const auto& e : all_entries(parameters, content)) {
    Tensor t;
    t.name = e.name;
    t.dtype = e.dtype;
    t.shape = e.shape;
    t.data = e.memory;
    tensors.push_back(std::move(t));
  }
  safetensors::write(path, std::move(tensors), metadata);
}

void read_checkpoint(const safetensors::File& file, ParameterArena& parameters,
                     const CheckpointContent& content) {
  parameters.store_dense();
  for (const auto& e : all_entries(parameters, content)) {
    const Tensor& t = file.get(e.name, e.dtype, e.shape);
    if (e.dtype == Dtype::u8 &&
        !std::all_of(t.data.begin(), t.data.end(), [](std::byte b) { return b <= std::byte{1}; }))
      fail("{}: {} has values that are neither 0 nor 1", file.name(), e.name);
  }
  // A new mask sets elements to zero, so the masks come first.
  if (content.masks)
    parameters.edit_masks([&](std::span<uint8_t> masks) {
      for (const Parameter& p : parameters.parameters())
        if (p.prunable)
          file.get(mask_name(p), Dtype::u8, p.shape)
              .copy_to(std::as_writable_bytes(ParameterArena::slice(masks, p)));
    });
  for (const auto& e : entries(parameters, content, editable_arrays_of(parameters)))
    file.get(e.name, e.dtype, e.shape).copy_to(e.memory);
}

}  // namespace sculpt
