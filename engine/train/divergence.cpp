#include "engine/train/divergence.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <span>

#include "engine/core/shell_word.h"

namespace sculpt {
namespace {

bool all_finite(std::span<const float> values) {
  constexpr uint32_t kExponent = 0x7F800000;
  uint32_t largest = 0;  // all ones for infinite and for not a number
  for (const float value : values)
    largest = std::max(largest, std::bit_cast<uint32_t>(value) & kExponent);
  return largest != kExponent;
}

void require_finite(std::span<const float> values, const std::string& what) {
  if (all_finite(values)) return;
  for (const float value : values)
    if (!std::isfinite(value))
      throw Divergence(fmt::format("{} has a value that is {}", what,
                                   std::isnan(value) ? "not a number" : "infinite"));
}

/// Returns a folder beside `root` that a run can use.
std::string folder_for(const std::filesystem::path& root, const std::string& lr) {
  const std::filesystem::path name = root.has_filename() ? root : root.parent_path();
  const std::string first = fmt::format("{}-lr{}", name.string(), lr);
  std::string folder = first;
  std::error_code error;
  for (int number = 2; std::filesystem::exists(folder, error); ++number)
    folder = fmt::format("{}-{}", first, number);
  return folder;
}

std::string checkpoint_text(const RunStore& store) {
  const auto good = store.newest_good_state();
  if (!good) return "there is no checkpoint to resume from";
  const auto& [path, state] = *good;
  const std::string when =
      state.steps == 0 ? std::string("written before the first step")
      : state.epoch_step == 0
          ? fmt::format("written after epoch {}", state.epochs)
          : fmt::format("written in epoch {} after step {}", state.epochs + 1, state.epoch_step);
  return fmt::format(
      "the last good checkpoint is {}, {}; --resume would go on from it and diverge "
      "again",
      path.string(), when);
}

}  // namespace

void require_finite(ParameterArena& parameters) {
  parameters.store_dense();
  const auto require_all = [&](std::span<const float> values, const std::string& prefix) {
    if (all_finite(values)) return;
    for (const Parameter& p : parameters.parameters())
      require_finite(ParameterArena::slice(values, p), prefix + p.name);
  };
  require_all(parameters.weights<float>(), "");
  for (OptimizerArrayId id = 0; id < parameters.optimizer_array_count(); ++id)
    require_all(parameters.optimizer_values<float>(id),
                fmt::format("the {} of ", parameters.optimizer_array_name(id)));
  const std::span<const float> states = parameters.state_values<float>();
  if (all_finite(states)) return;
  for (const StateArray& s : parameters.states())
    require_finite(states.subspan(static_cast<size_t>(s.offset), static_cast<size_t>(s.count)),
                   s.name);
}

void require_finite(const char* what, double loss, std::optional<int64_t> step) {
  if (!std::isfinite(loss))
    throw Divergence(fmt::format("{} is {}", what, std::isnan(loss) ? "not a number" : "infinite"),
                     step);
}

std::string divergence_message(const Divergence& divergence, const DivergencePlace& place,
                               const RunStore& store) {
  const std::string lr = fmt::format("{:.4g}", place.peak_lr / 10);
  const std::filesystem::path& root = store.folder().root();
  return fmt::format(
      "training diverged in epoch {}{} (learning rate {:.4g}): {}\n"
      "{}\n"
      "start again with a lower optim.lr, or with optim.clip_norm set:\n"
      "  sculpt_run {} --set optim.lr={} --out {}",
      place.epoch, place.step > 0 ? fmt::format(", step {}", place.step) : "", place.lr,
      divergence.what(), checkpoint_text(store), shell_word(store.folder().config().string()), lr,
      shell_word(folder_for(root, lr)));
}

}  // namespace sculpt
