#include "engine/run/checkpoint.h"

#include <algorithm>

#include "engine/core/error.h"

namespace sculpt {
namespace {

using safetensors::Dtype;
using safetensors::Tensor;

constexpr std::string_view kMean = ".running_mean";
constexpr std::string_view kTracked = ".num_batches_tracked";

template <class T>
std::span<std::byte> writable(std::span<T> values) {
  return std::as_writable_bytes(values);
}

/// A tensor of a checkpoint, whose data is the arena's memory. Reading and writing share one list
/// of entries.
struct Entry {
  std::string name;
  Dtype dtype;
  std::vector<int64_t> shape;
  std::span<std::byte> memory;
};

std::vector<Entry> entries(ParameterArena& arena, const CheckpointContent& content,
                           int64_t& batches_tracked) {
  std::vector<Entry> list;
  for (const Parameter& p : arena.parameters())
    list.push_back(
        {p.name, Dtype::f32, p.shape, writable(ParameterArena::slice(arena.weights<float>(), p))});
  for (const StateArray& s : arena.states()) {
    const auto values = arena.state_values<float>().subspan(static_cast<size_t>(s.offset),
                                                            static_cast<size_t>(s.count));
    list.push_back({s.name, Dtype::f32, {s.count}, writable(values)});
    if (s.name.ends_with(kMean))
      list.push_back({s.name.substr(0, s.name.size() - kMean.size()) + std::string(kTracked),
                      Dtype::i64,
                      {},
                      writable(std::span(&batches_tracked, 1))});
  }
  if (content.optimizer)
    for (OptimizerArrayId id = 0; id < arena.optimizer_array_count(); ++id)
      for (const Parameter& p : arena.parameters())
        list.push_back({"optimizer." + arena.optimizer_array_name(id) + "." + p.name, Dtype::f32,
                        p.shape,
                        writable(ParameterArena::slice(arena.optimizer_values<float>(id), p))});
  if (content.masks)
    for (const Parameter& p : arena.parameters())
      if (p.prunable)
        list.push_back({p.name + ".mask", Dtype::u8, p.shape,
                        writable(ParameterArena::slice(arena.masks(), p))});
  return list;
}

}  // namespace

void write_checkpoint(const std::filesystem::path& path, ParameterArena& parameters,
                      const CheckpointContent& content, const safetensors::Metadata& metadata) {
  std::vector<Tensor> tensors;
  for (const Entry& e : entries(parameters, content, parameters.batches_tracked)) {
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
  const auto list = entries(parameters, content, parameters.batches_tracked);
  for (const Entry& e : list) {
    const Tensor& t = file.get(e.name, e.dtype, e.shape);
    if (e.dtype == Dtype::u8 &&
        !std::all_of(t.data.begin(), t.data.end(), [](std::byte b) { return b <= std::byte{1}; }))
      fail("{}: {} has values that are neither 0 nor 1", file.name(), e.name);
  }
  for (const Entry& e : list)
    file.get(e.name, e.dtype, e.shape).copy_to(e.memory);
}

}  // namespace sculpt
