#include "apps/sculpt_run/run_name.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <set>

#include "apps/sculpt_run/key_names.h"
#include "engine/config/setting_name.h"
#include "engine/core/error.h"

namespace sculpt {
namespace {

constexpr size_t kLongestChanges = 100;

std::string last_part(const std::string& key) {
  return key.substr(key.rfind('.') + 1);  // npos + 1 is 0
}

/// Turns "model.width" and "0.3" into "width0.3". The text includes the section if another section
/// has a key of the same name.
std::string item(const std::string& key, const std::string& toml, const ConfigValues& all_keys) {
  const std::string last = last_part(key);
  const auto alike = std::ranges::count_if(
      all_keys, [&](const auto& entry) { return last_part(entry.first) == last; });
  return setting_name(key, toml, alike > 1);
}

/// Returns all settings under the first names of their keys.
ConfigValues by_first_name(const RunOptions& options) {
  RunOptions copy = options;  // sections() refers to an object that it may change
  ConfigValues values;
  for (const auto& [key, value] : flatten_config(write_config(copy.sections()), "config"))
    values[first_name(key)] = value;
  return values;
}

/// Returns the first names of the keys that are not part of a folder's name.
std::set<std::string> unnamed_keys() {
  std::set<std::string> names = {"seed", "method"};
  for (const std::string& key : keys_without_effect())
    if (key != "execution.conv") names.insert(first_name(key));
  return names;
}

/// Returns a text such as "-lr0.3-sparsity0.95".
std::string changes(const ConfigValues& before, const ConfigValues& now) {
  const std::set<std::string> unnamed = unnamed_keys();
  std::string text, all;
  for (const auto& [key, value] : now) {
    const auto found = before.find(key);
    const bool same = found != before.end() && found->second == value;
    if (same || unnamed.count(key) > 0) continue;
    text += "-" + item(key, value, now);
    all += key + "=" + value + "\n";
  }
  if (text.size() <= kLongestChanges) return text;
  return text.substr(0, kLongestChanges - 9) + "-" + short_hash(all);
}

/// Returns true if the method is one of the words of the config's name: "imp" is a word of
/// "imp-triangular", and not of "simple".
bool names_method(const std::string& stem, const std::string& method) {
  const auto is_letter = [&](size_t i) {
    return i < stem.size() && std::isalnum(static_cast<unsigned char>(stem[i])) != 0;
  };
  for (size_t at = stem.find(method); at != std::string::npos; at = stem.find(method, at + 1))
    if ((at == 0 || !is_letter(at - 1)) && !is_letter(at + method.size())) return true;
  return false;
}

std::string config_and_method(const std::string& stem, const std::string& of_file,
                              const std::string& method) {
  if (names_method(stem, method)) return stem;
  // The folder's name must not contain a method that the run does not use.
  if (names_method(stem, of_file)) return method + "-from-" + stem;
  return stem + "-" + method;
}

/// Returns the threads, device and instruction set that the command line and the environment name,
/// because these decide bits. The text leaves out values that are not given, so that the name does
/// not depend on the machine.
std::string machine_changes(const ExecutionOptions& before, const ExecutionOptions& now) {
  std::string text;
  if (now.threads != before.threads) text += fmt::format("-threads{}", now.threads);
  if (now.device != before.device) text += "-" + file_name_text(now.device);
  if (const char* isa = std::getenv("SCULPT_CPU_ISA"); isa != nullptr && *isa != '\0')
    text += "-" + file_name_text(isa);
  return text;
}

}  // namespace

std::string default_folder(const CommandLine& line) {
  const RunOptions from_file = read_options(line.config, {}).options,
                   options = read_options(line.config, line.settings).options;
  const std::filesystem::path path(line.config);
  const std::string stem = path.stem().string();
  std::string name = config_and_method(stem, from_file.method.method, options.method.method);
  // configs/cifar10/imp.toml -> cifar10-imp
  const std::string parent = path.parent_path().filename().string();
  if (!parent.empty() && parent != "configs" && parent != "." && parent != "..")
    name = parent + "-" + name;
  name += changes(by_first_name(from_file), by_first_name(options));
  name += machine_changes(from_file.train.execution, options.train.execution);
  return fmt::format("runs/{}-s{}", name, options.seed);
}

}  // namespace sculpt
