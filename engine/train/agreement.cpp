#include "engine/train/agreement.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "engine/core/checksum.h"
#include "engine/core/error.h"
#include "engine/dist/place.h"

namespace sculpt {
namespace {

template <class T>
std::span<std::byte> bytes_of(std::span<T> values) {
  return std::as_writable_bytes(values);
}

std::string digits_of(std::span<const std::byte> bytes) {
  Checksum sum;
  sum.add(bytes);
  return sum.digits();
}

/// A tensor that all ranks must have in the same bits.
struct Tensor {
  std::string name;
  std::span<const std::byte> bytes;
};

/// Returns the tensors of the arena, whose elements are of type T, in a fixed order.
template <class T>
std::vector<Tensor> tensors_of(const ParameterArena& parameters) {
  std::vector<Tensor> tensors;
  const auto add = [&](const std::string& name, auto values) {
    tensors.push_back({name, std::as_bytes(values)});
  };
  for (const Parameter& p : parameters.parameters()) {
    add(p.name, ParameterArena::slice(parameters.weights<T>(), p));
    add("the mask of " + p.name, ParameterArena::slice(parameters.masks(), p));
    for (OptimizerArrayId id = 0; id < parameters.optimizer_array_count(); ++id)
      add(fmt::format("the {} of {}", parameters.optimizer_array_name(id), p.name),
          ParameterArena::slice(parameters.optimizer_values<T>(id), p));
  }
  for (const StateArray& s : parameters.states())
    add(s.name, parameters.state_values<T>().subspan(static_cast<size_t>(s.offset),
                                                     static_cast<size_t>(s.count)));
  return tensors;
}

std::vector<Tensor> tensors_of(const ParameterArena& parameters) {
  return parameters.element_bytes() == sizeof(double) ? tensors_of<double>(parameters)
                                                      : tensors_of<float>(parameters);
}

/// Returns the ranks whose text is not that of rank 0.
std::vector<int> ranks_apart(const std::vector<std::string>& texts) {
  std::vector<int> apart;
  for (size_t rank = 1; rank < texts.size(); ++rank)
    if (texts[rank] != texts[0]) apart.push_back(static_cast<int>(rank));
  return apart;
}

template <class T>
void share_values(Communicator& ranks, ParameterArena& parameters) {
  ranks.broadcast(bytes_of(parameters.edit_weights<T>()));
  for (OptimizerArrayId id = 0; id < parameters.optimizer_array_count(); ++id)
    ranks.broadcast(bytes_of(parameters.edit_optimizer_values<T>(id)));
  if (!parameters.states().empty()) ranks.broadcast(bytes_of(parameters.edit_state_values<T>()));
}

}  // namespace

void share_parameters(Communicator& ranks, ParameterArena& parameters) {
  if (ranks.size() == 1) return;
  parameters.store_dense();
  std::vector<uint8_t> masks(parameters.masks().begin(), parameters.masks().end());
  ranks.broadcast(bytes_of(std::span(masks)));
  parameters.edit_masks([&](std::span<uint8_t> bytes) { std::ranges::copy(masks, bytes.begin()); });
  if (parameters.element_bytes() == sizeof(double))
    share_values<double>(ranks, parameters);
  else
    share_values<float>(ranks, parameters);
  ranks.broadcast(bytes_of(std::span(&parameters.batches_tracked, 1)));
}

void share_state(Communicator& ranks, RunState& state) {
  if (ranks.size() == 1) return;
  // A value of a hook may hold any character except the one that separates values here.
  constexpr char kEnd = '\0';
  std::string text;
  for (const auto& [key, value] : to_metadata(state))
    text += key + kEnd + value + kEnd;
  text = ranks.all_gather(ranks.is_root() ? text : "").front();
  safetensors::Metadata metadata;
  for (size_t at = 0; at < text.size();) {
    const std::string key = text.c_str() + at;
    const std::string value = text.c_str() + at + key.size() + 1;
    metadata[key] = value;
    at += key.size() + value.size() + 2;
  }
  state = state_from(metadata, "the state of rank 0");
}

bool any_rank(Communicator& ranks, bool flag) {
  int64_t count = flag ? 1 : 0;
  ranks.all_reduce_sum(std::span(&count, 1));
  return count > 0;
}

void require_same_parameters(Communicator& ranks, ParameterArena& parameters,
                             const std::string& when) {
  if (ranks.size() == 1) return;
  parameters.store_dense();
  const std::vector<Tensor> tensors = tensors_of(parameters);
  std::string all;
  for (const Tensor& tensor : tensors)
    all += digits_of(tensor.bytes);
  if (ranks_apart(ranks.all_gather(digits_of(std::as_bytes(std::span(all))))).empty()) return;
  const std::vector<std::string> of_ranks = ranks.all_gather(all);
  const size_t digits = all.size() / tensors.size();
  for (size_t t = 0; t < tensors.size(); ++t) {
    std::vector<std::string> texts;
    for (const std::string& text : of_ranks)
      texts.push_back(text.substr(t * digits, digits));
    const std::vector<int> apart = ranks_apart(texts);
    if (apart.empty()) continue;
    fail(
        "the ranks differ {}: {} is not the same on {} as on {}; go on with --resume from the last "
        "checkpoint, and look for a rank with another build of the program, another processor or "
        "faulty memory if it happens again",
        when, tensors[t].name, names_of(apart, ranks.places()), name_of(0, ranks.places()));
  }
}

}  // namespace sculpt
