#include "engine/analyze/exported_network.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <limits>

#include "engine/core/error.h"

namespace sculpt {
namespace {

using safetensors::Dtype;
using safetensors::Tensor;

constexpr std::string_view kMean = ".running_mean";
constexpr std::string_view kTracked = ".num_batches_tracked";

template <class T>
Tensor tensor_of(std::string name, Dtype dtype, std::vector<int64_t> shape,
                 std::span<const T> values) {
  return {std::move(name), dtype, std::move(shape), std::as_bytes(values)};
}

std::string tracked_name(const StateArray& state) {
  if (!state.name.ends_with(kMean)) return "";
  return state.name.substr(0, state.name.size() - kMean.size()) + std::string(kTracked);
}

/// The tensors of a file, and the memory of those that are made for it.
class ExportedTensors {
 public:
  explicit ExportedTensors(const StoredNetwork& values) : values_(values) {}

  void add_dense(const Parameter& p) {
    tensors_.push_back(tensor_of(p.name, Dtype::f32, p.shape, weights_of(p)));
  }

  void add_compact(const Parameter& p) {
    const std::span<const float> weights = weights_of(p);
    const auto masks = ParameterArena::slice(std::span(values_.masks), p);
    std::vector<float>& kept = floats_.emplace_back();
    std::vector<int32_t>& places = places_.emplace_back();
    for (size_t i = 0; i < weights.size(); ++i) {
      if (masks[i] == 0) continue;
      kept.push_back(weights[i]);
      places.push_back(static_cast<int32_t>(i));
    }
    const std::vector<int64_t> size = {std::ssize(kept)};
    const std::vector<int64_t>& shape = shapes_.emplace_back(p.shape);
    tensors_.push_back(
        tensor_of(p.name + ".values", Dtype::f32, size, std::span<const float>(kept)));
    tensors_.push_back(
        tensor_of(p.name + ".indices", Dtype::i32, size, std::span<const int32_t>(places)));
    tensors_.push_back(tensor_of(p.name + ".shape", Dtype::i64, {std::ssize(shape)},
                                 std::span<const int64_t>(shape)));
  }

  void add_state(const StateArray& s) {
    tensors_.push_back(
        tensor_of(s.name, Dtype::f32, {s.count},
                  std::span(values_.states)
                      .subspan(static_cast<size_t>(s.offset), static_cast<size_t>(s.count))));
    const std::string tracked = tracked_name(s);
    if (!tracked.empty())
      tensors_.push_back(
          tensor_of(tracked, Dtype::i64, {}, std::span(&values_.batches_tracked, 1)));
  }

  std::vector<Tensor> take() { return std::move(tensors_); }

 private:
  std::span<const float> weights_of(const Parameter& p) const {
    return ParameterArena::slice(std::span(values_.weights), p);
  }

  const StoredNetwork& values_;
  std::vector<Tensor> tensors_;
  // The elements of a deque stay where they are.
  std::deque<std::vector<float>> floats_;
  std::deque<std::vector<int32_t>> places_;
  std::deque<std::vector<int64_t>> shapes_;
};

bool has_masked(const Parameter& p, const StoredNetwork& values) {
  return std::ranges::find(ParameterArena::slice(std::span(values.masks), p), uint8_t{0}) !=
         ParameterArena::slice(std::span(values.masks), p).end();
}

void require_finite(const safetensors::File& file, const std::string& name,
                    std::span<const float> values) {
  if (!std::ranges::all_of(values, [](float v) { return std::isfinite(v); }))
    fail("{}: {} has values that are infinite or not a number", file.name(), name);
}

/// Reads a tensor of one dimension whose length is that in the file.
template <class T>
std::vector<T> list_in(const safetensors::File& file, const std::string& name, Dtype dtype) {
  const Tensor& tensor = file.get(name, dtype, {file.get(name).count()});
  std::vector<T> values(static_cast<size_t>(tensor.count()));
  tensor.copy_to(std::as_writable_bytes(std::span(values)));
  return values;
}

/// Sets the weights and masks of a parameter that the file holds as kept values.
void read_kept(const safetensors::File& file, const Parameter& p, StoredNetwork& values) {
  if (list_in<int64_t>(file, p.name + ".shape", Dtype::i64) != p.shape)
    fail("{}: {} has another shape than in the network of this config", file.name(), p.name);
  const auto kept = list_in<float>(file, p.name + ".values", Dtype::f32);
  const auto places = list_in<int32_t>(file, p.name + ".indices", Dtype::i32);
  if (kept.size() != places.size())
    fail("{}: {} has {} values and {} indices", file.name(), p.name, kept.size(), places.size());
  require_finite(file, p.name, kept);
  const auto weights = ParameterArena::slice(std::span(values.weights), p);
  const auto masks = ParameterArena::slice(std::span(values.masks), p);
  std::ranges::fill(masks, uint8_t{0});
  int64_t before = -1;
  for (size_t k = 0; k < kept.size(); ++k) {
    const int64_t place = places[k];
    if (place <= before || place >= p.count)
      fail("{}: the indices of {} are not ascending numbers below {}", file.name(), p.name,
           p.count);
    before = place;
    weights[static_cast<size_t>(place)] = kept[k];
    masks[static_cast<size_t>(place)] = 1;
  }
}

}  // namespace

void write_exported(const std::filesystem::path& path, const ParameterArena& parameters,
                    const StoredNetwork& values, ExportForm form,
                    const safetensors::Metadata& metadata) {
  ExportedTensors tensors(values);
  std::string masked;
  for (const Parameter& p : parameters.parameters()) {
    const bool sparse = p.prunable && has_masked(p, values);
    if (sparse) masked += (masked.empty() ? "" : " ") + p.name;
    if (!sparse || form == ExportForm::dense) {
      tensors.add_dense(p);
      continue;
    }
    if (p.count > std::numeric_limits<int32_t>::max())
      fail("{} has {} weights, too many for indices of 32 bits; export with --dense", p.name,
           p.count);
    tensors.add_compact(p);
  }
  for (const StateArray& s : parameters.states())
    tensors.add_state(s);
  safetensors::Metadata all = metadata;
  all["format"] = form == ExportForm::dense ? kDenseFormat.text() : kCompactFormat.text();
  all["masked"] = masked;
  safetensors::write(path, tensors.take(), all);
}

bool is_compact(const std::filesystem::path& path) {
  const safetensors::File file = safetensors::File::read(path, /*require_checksum=*/false);
  const auto found = file.metadata().find("format");
  return found != file.metadata().end() &&
         found->second.starts_with(std::string(kCompactFormat.kind) + "-");
}

StoredNetwork read_compact(const std::filesystem::path& path, const ParameterArena& parameters) {
  const safetensors::File file = safetensors::File::read(path, /*require_checksum=*/false);
  require_known(file.metadata("format"), kCompactFormat, file.name());
  StoredNetwork values;
  values.weights.assign(static_cast<size_t>(parameters.count()), 0.0f);
  values.masks.assign(static_cast<size_t>(parameters.count()), 1);
  for (const Parameter& p : parameters.parameters()) {
    if (p.prunable && !file.has(p.name)) {
      read_kept(file, p, values);
      continue;
    }
    const auto weights = ParameterArena::slice(std::span(values.weights), p);
    file.get(p.name, Dtype::f32, p.shape).copy_to(std::as_writable_bytes(weights));
    require_finite(file, p.name, weights);
  }
  for (const StateArray& s : parameters.states()) {
    std::vector<float> state(static_cast<size_t>(s.count));
    file.get(s.name, Dtype::f32, {s.count}).copy_to(std::as_writable_bytes(std::span(state)));
    require_finite(file, s.name, state);
    values.states.insert(values.states.end(), state.begin(), state.end());
    const std::string tracked = tracked_name(s);
    if (!tracked.empty() && file.has(tracked))
      file.get(tracked, Dtype::i64, {})
          .copy_to(std::as_writable_bytes(std::span(&values.batches_tracked, 1)));
  }
  return values;
}

}  // namespace sculpt
