#include "engine/report/provenance.h"

#include <algorithm>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <map>

#include "engine/core/shell_word.h"

namespace sculpt {
namespace {

constexpr size_t kMostValues = 8;

std::string recorded(const RunRecords& run, const std::string& key) {
  const auto found = run.environment.find(key);
  return found == run.environment.end() ? "" : found->second;
}

/// Maps each value of environment.json to the number of runs that have it.
std::map<std::string, size_t> values_of(const std::vector<const RunRecords*>& runs,
                                        const std::string& key) {
  std::map<std::string, size_t> values;
  for (const RunRecords* run : runs)
    if (const std::string value = recorded(*run, key); !value.empty()) ++values[value];
  return values;
}

/// Shortens hashes, of which the first digits say enough.
std::string shortened(const std::string& value) {
  constexpr size_t kHash = 40, kShown = 12;
  const bool is_hash =
      value.size() >= kHash && value.find_first_not_of("0123456789abcdef") == std::string::npos;
  return is_hash ? value.substr(0, kShown) : value;
}

std::string values_text(const std::map<std::string, size_t>& values, const char* separator) {
  std::vector<std::string> parts;
  for (const auto& [value, count] : values) {
    if (parts.size() == kMostValues) {
      parts.push_back(fmt::format("and {} more", values.size() - kMostValues));
      break;
    }
    parts.push_back(values.size() == 1 ? value
                                       : fmt::format("{} ({} run{})", shortened(value), count,
                                                     count == 1 ? "" : "s"));
  }
  return fmt::format("{}", fmt::join(parts, separator));
}

/// The names that people have for the values of environment.json, in the order of a table.
constexpr std::pair<const char*, const char*> kNames[] = {
    {"version", "Sculpt"},
    {"commit", "commit"},
    {"build", "build"},
    {"build_type", "build type"},
    {"compiler", "compiler"},
    {"c_library", "C library"},
    {"system", "system"},
    {"cpu", "CPU"},
    {"processors", "processors"},
    {"device", "device"},
    {"device_description", "device name"},
    {"backend", "backend"},
    {"threads", "threads"},
    {"ranks", "ranks"},
    {"rank_library", "library of the ranks"},
    {"libraries", "libraries"},
    {"data_fingerprint", "data fingerprint"},
    {"init_from_fingerprint", "fingerprint of model.init_from"}};

}  // namespace

std::string folder_name(const std::filesystem::path& folder) {
  if (folder.empty()) return "";
  const std::filesystem::path path = std::filesystem::absolute(folder).lexically_normal();
  return (path.has_filename() ? path : path.parent_path()).filename().string();
}

Table changed_settings(const RunRecords& run, const ReportContext& context) {
  Table table;
  table.name = "settings";
  table.title = "Settings that are not the defaults";
  table.columns = {"key", "value", "default"};
  for (const auto& [key, value] : run.config) {
    if (key == "format") continue;
    const auto normal = context.defaults.find(key);
    const std::string text = normal == context.defaults.end() ? "" : normal->second;
    if (normal == context.defaults.end() || text != value)
      table.rows.push_back({key, value.empty() ? "\"\"" : value, text.empty() ? "\"\"" : text});
  }
  if (table.rows.empty()) table.caption = "All settings have their defaults.";
  return table;
}

Table all_settings(const RunRecords& run) {
  Table table;
  table.name = "all-settings";
  table.columns = {"key", "value"};
  for (const auto& [key, value] : run.config)
    table.rows.push_back({key, value.empty() ? "\"\"" : value});
  return table;
}

Table environment_table(const std::vector<const RunRecords*>& runs) {
  Table table;
  table.name = "versions";
  table.title = "Program, machine and data";
  table.columns = {"", "recorded at the start"};
  for (const auto& [key, name] : kNames) {
    const auto values = values_of(runs, key);
    if (!values.empty()) table.rows.push_back({name, values_text(values, ", ")});
  }
  if (table.rows.empty()) table.caption = "Nothing is recorded.";
  return table;
}

std::vector<std::string> environment_warnings(const std::vector<const RunRecords*>& runs) {
  struct Difference {
    const char *key, *what, *effect;
  };
  static constexpr Difference kDifferences[] = {
      {"data_fingerprint", "data", "their accuracies cannot be compared"},
      {"commit", "commits of Sculpt", "their results may differ for this reason"},
      {"build", "builds of the program", "their last bits may differ for this reason"},
      {"device", "devices", "their times and last bits may differ for this reason"},
      {"backend", "backends", "their times and last bits may differ for this reason"},
      {"cpu", "CPUs", "their times may differ for this reason"},
      {"threads", "numbers of threads", "their times and last bits may differ for this reason"},
      {"ranks", "numbers of ranks", "their times and last bits may differ for this reason"}};
  std::vector<std::string> warnings;
  for (const auto& [key, what, effect] : kDifferences) {
    const auto values = values_of(runs, key);
    if (values.size() < 2) continue;
    if (std::string_view(key) == "build" && values_of(runs, "commit").size() > 1) continue;
    warnings.push_back(fmt::format("The runs have different {}, and {}: {}.", what, effect,
                                   values_text(values, ", ")));
  }
  return warnings;
}

std::vector<ShownCommand> commands_of(const RunRecords& run) {
  const std::string folder = run.folder.lexically_normal().string();
  const std::string config = (run.folder / "config.toml").lexically_normal().string();
  std::string again = folder;
  while (again.size() > 1 && again.ends_with('/'))
    again.pop_back();
  std::string words =
      fmt::format("sculpt_run {} --out {}", shell_word(config), shell_word(again + "-again"));
  const std::string device = recorded(run, "device"), backend = recorded(run, "backend");
  if (!device.empty()) words += " --device " + shell_word(device);
  if (const std::string threads = recorded(run, "threads"); !threads.empty())
    words += " --threads " + shell_word(threads);
  if (const std::string ranks = recorded(run, "ranks");
      !ranks.empty() && ranks != "1" && run.setting("dist.reduction") != "exact")
    words += " --ranks " + shell_word(ranks);
  if (device == "cpu" && backend.starts_with("cpu-"))
    words = fmt::format("SCULPT_CPU_ISA={} {}", shell_word(backend.substr(4)), words);
  std::vector<ShownCommand> commands = {{"Repeats this run in another folder", words}};
  if (!run.finished() && !run.diverged())
    commands.push_back(
        {"Goes on with this run if it has stopped", "sculpt_run --resume " + shell_word(folder)});
  return commands;
}

}  // namespace sculpt
