#include "engine/study/repeats.h"

#include <fmt/format.h>

#include "engine/core/name_list.h"

namespace sculpt {
namespace {

/// Returns true if a result of the two runs is known and not the same.
bool differ(const ComparedRun& a, const ComparedRun& b) {
  const auto differs = [](double x, double y) {
    return std::isnan(x) != std::isnan(y) || (!std::isnan(x) && x != y);
  };
  return a.finished && b.finished && (differs(a.accuracy, b.accuracy) || differs(a.loss, b.loss));
}

}  // namespace

std::string training_of(const std::map<std::string, std::string>& config,
                        const std::map<std::string, std::string>& defaults,
                        const std::set<std::string>& without_effect) {
  for (const char* key : {"method", "seed", "train.epochs", "optim.lr"})
    if (!config.contains(key)) return "";
  std::string text = "settings:";
  for (const auto& [key, value] : config) {
    if (key == "format" || without_effect.contains(key)) continue;
    const auto usual = defaults.find(key);
    if (usual == defaults.end() || usual->second != value)
      text += fmt::format("{}={}\n", key, value);
  }
  return text;
}

std::vector<Repeat> find_repeats(const std::vector<ComparedRun>& runs) {
  std::map<std::pair<std::string, std::string>, size_t> counted;
  for (size_t i = 0; i < runs.size(); ++i) {
    if (runs[i].training.empty()) continue;
    const auto [found, first] = counted.emplace(std::pair(runs[i].group, runs[i].training), i);
    if (!first && runs[i].finished && !runs[found->second].finished) found->second = i;
  }
  std::vector<Repeat> repeats;
  for (size_t i = 0; i < runs.size(); ++i) {
    if (runs[i].training.empty()) continue;
    const size_t other = counted.at({runs[i].group, runs[i].training});
    if (other != i)
      repeats.push_back({i, other, runs[i].name, runs[other].name, differ(runs[i], runs[other])});
  }
  return repeats;
}

std::string repeats_sentence(const std::vector<Repeat>& repeats) {
  constexpr size_t kMostNames = 12;
  if (repeats.empty()) return "";
  std::vector<std::string> names;
  for (const Repeat& repeat : repeats)
    names.push_back(fmt::format("{} (repeats {}{})", repeat.name, repeat.counted_name,
                                repeat.differs ? ", with another result" : ""));
  return fmt::format(
      "{} the settings and the seed of another one, and {} not count in means: {}.",
      repeats.size() == 1 ? "One run has" : fmt::format("{} runs have", names.size()),
      repeats.size() == 1 ? "does" : "do", first_names(names, kMostNames));
}

}  // namespace sculpt
