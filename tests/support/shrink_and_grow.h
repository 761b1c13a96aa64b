#pragma once
// A hook that changes masks in the middle of a cycle, and one that examines what follows.

#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <sstream>

#include "engine/core/random.h"
#include "engine/nn/cost.h"
#include "engine/train/hooks/hook.h"
#include "tests/support/comparison.h"

namespace sculpt::testing {

/// The parts of `masks` that hold the prunable parameters.
inline std::vector<std::span<uint8_t>> prunable_parts(std::span<uint8_t> masks,
                                                      const ParameterArena& arena) {
  std::vector<std::span<uint8_t>> parts;
  for (const Parameter& p : arena.parameters())
    if (p.prunable) parts.push_back(ParameterArena::slice(masks, p));
  return parts;
}

/// Changes masks as methods with a fixed number of weights do, but with a pause: after one step of
/// the run a fifth of each layer's kept weights is masked, the smallest ones, and after a later
/// step as many weights are kept again, none of which was masked by the hook.
class ShrinkAndGrow : public Hook {
 public:
  ShrinkAndGrow(int64_t shrink_after, int64_t grow_after)
      : shrink_after_(shrink_after), grow_after_(grow_after) {}

  std::string name() const override { return "shrink-and-grow"; }
  void after_step(HookContext& context) override {
    if (context.state().steps == shrink_after_) shrink(context);
    if (context.state().steps == grow_after_) grow(context);
  }
  HookValues save() const override {
    if (removed_.empty()) return {};
    std::string text;
    for (const std::vector<size_t>& layer : removed_) {
      for (const size_t i : layer)
        text += fmt::format("{} ", i);
      text += "\n";
    }
    return {{"removed", text}};
  }
  void restore(const HookValues& values) override {
    removed_.clear();
    if (!values.count("removed")) return;
    std::istringstream lines(values.at("removed"));
    for (std::string line; std::getline(lines, line);) {
      removed_.emplace_back();
      std::istringstream words(line);
      for (size_t i = 0; words >> i;)
        removed_.back().push_back(i);
    }
  }

  std::vector<std::pair<size_t, size_t>> grown;  // layer, index in it

 private:
  void shrink(HookContext& context) {
    ParameterArena& arena = context.network().parameters();
    arena.store_dense();
    for (size_t i = 0; i < arena.parameters().size(); ++i) {
      const auto id = static_cast<ParameterId>(i);
      if (!arena[id].prunable) continue;
      const auto weights = ParameterArena::slice(arena.weights<float>(), arena[id]);
      std::vector<size_t> kept;
      for (const int64_t index : arena.pattern()->kept_indices(id))
        kept.push_back(static_cast<size_t>(index));
      std::ranges::stable_sort(
          kept, [&](size_t a, size_t b) { return std::abs(weights[a]) < std::abs(weights[b]); });
      kept.resize(kept.size() / 5);
      removed_.push_back(kept);
    }
    arena.edit_masks([&](std::span<uint8_t> masks) {
      const auto parts = prunable_parts(masks, arena);
      for (size_t layer = 0; layer < parts.size(); ++layer)
        for (const size_t i : removed_[layer])
          parts[layer][i] = 0;
    });
  }
  void grow(HookContext& context) {
    const RandomStream random(context.score_context().seed, Purpose::test);
    ParameterArena& arena = context.network().parameters();
    arena.edit_masks([&](std::span<uint8_t> masks) {
      const auto parts = prunable_parts(masks, arena);
      REQUIRE(parts.size() == removed_.size());
      for (size_t layer = 0; layer < parts.size(); ++layer) {
        size_t left = removed_[layer].size();
        for (uint64_t draw = 0; left > 0; ++draw) {
          const size_t i = random.below(1000 * layer + draw, parts[layer].size());
          const bool removed = std::ranges::find(removed_[layer], i) != removed_[layer].end();
          if (parts[layer][i] || removed) continue;
          parts[layer][i] = 1;
          grown.emplace_back(layer, i);
          --left;
        }
      }
    });
  }

  int64_t shrink_after_, grow_after_;
  std::vector<std::vector<size_t>> removed_;
};

/// Looks at the network around every step, after the hooks before it in the list.
class Examiner : public Hook {
 public:
  std::string name() const override { return "examiner"; }
  void before_step(HookContext& context) override {
    flops_per_image_ = 0;
    const ParameterArena& arena = context.network().parameters();
    for (const LayerCost& layer : layer_costs(context.network())) {
      const auto mask = arena.pattern()->bytes(layer.weight);
      const double density =
          static_cast<double>(std::ranges::count(mask, 1)) / static_cast<double>(mask.size());
      flops_per_image_ +=
          (layer.name == "conv1" ? 4.0 : 6.0) * static_cast<double>(layer.macs) * density;
    }
  }
  void after_step(HookContext& context) override {
    flops += flops_per_image_ * static_cast<double>(context.step().images);
    skipping += context.network().skips_masked();
    for (const auto& [layer, kernels] : context.network().pass_kernels())
      all_sparse += kernels.forward == kernels::Choice::sparse &&
                    kernels.weight_grad == kernels::Choice::sparse;
    ParameterArena& arena = context.network().parameters();
    arena.store_dense();
    std::vector<std::span<const float>> arrays = {arena.weights<float>()};
    for (OptimizerArrayId id = 0; id < arena.optimizer_array_count(); ++id)
      arrays.push_back(arena.optimizer_values<float>(id));
    const auto masks = arena.masks();
    for (size_t i = 0; i < masks.size(); ++i)
      masked_gradients += masks[i] == 0 && arena.gradients<float>()[i] != 0;
    for (size_t i = 0; i < masks.size(); ++i)
      for (const std::span<const float> array : arrays)
        not_zero += masks[i] == 0 && !is_plus_zero(array[i]);
    kept.push_back(arena.kept_count());
  }

  double flops = 0;
  int64_t skipping = 0, all_sparse = 0;  // steps after which layers skip masked weights; layers
  int64_t not_zero = 0;                  // masked elements that are not +0
  int64_t masked_gradients = 0;          // gradients of masked weights that are not 0
  std::vector<int64_t> kept;             // after each step

 private:
  double flops_per_image_ = 0;
};

}  // namespace sculpt::testing
