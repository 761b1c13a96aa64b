#include "apps/sculpt_run/run_name.h"

#include <algorithm>
#include <filesystem>
#include <map>

#include "engine/core/error.h"

namespace sculpt {
namespace {

constexpr size_t kLongestItem = 28;
constexpr size_t kLongestChanges = 100;

std::string short_hash(const std::string& text) {
  return hash_config({{"text", text}}, {}).substr(0, 8);
}

/// Letters, digits, points, signs and underscores stay; a run of anything else becomes one '-'.
std::string safe(const std::string& text) {
  std::string name;
  for (const char c : text) {
    const bool kept = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      c == '.' || c == '+' || c == '_' || c == '-';
    if (kept)
      name += c;
    else if (!name.empty() && name.back() != '-')
      name += '-';
  }
  while (!name.empty() && name.back() == '-')
    name.pop_back();
  return name;
}

std::string last_part(const std::string& key) {
  return key.substr(key.rfind('.') + 1);  // npos + 1 is 0
}

/// "train.lr", "0.3" -> "lr0.3". The section is named where the last part alone says too little.
std::string item(const std::string& key, const std::string& toml,
                 const std::map<std::string, std::string>& all_keys) {
  const bool quoted = toml.size() >= 2 && toml.front() == '"';
  const std::string value = quoted ? toml.substr(1, toml.size() - 2) : toml;
  const std::string last = last_part(key);
  const auto alike = std::ranges::count_if(
      all_keys, [&](const auto& entry) { return last_part(entry.first) == last; });
  std::string label = alike > 1 ? safe(key) : last;
  std::string text = safe(value);
  if (key == "method" || key == "model.name" || key == "data.name")
    label.clear();  // the value speaks for itself
  else if (quoted || toml == "true" || toml == "false")
    label += '-';
  // What does not fit, or was changed to be safe, is told apart by its hash.
  if (text != value || label.size() + text.size() > kLongestItem)
    text = text.substr(0, 8) + "-" + short_hash(toml);
  return label + text;
}

/// "-lr0.3-sparsity0.95"
std::string changes(const std::map<std::string, std::string>& before,
                    const std::map<std::string, std::string>& now) {
  std::string text, all;
  for (const auto& [key, value] : now) {
    const auto found = before.find(key);
    const bool same = found != before.end() && found->second == value;
    if (same || key == "seed" || keys_without_effect().count(key)) continue;
    text += "-" + item(key, value, now);
    all += key + "=" + value + "\n";
  }
  if (text.size() <= kLongestChanges) return text;
  return text.substr(0, kLongestChanges - 9) + "-" + short_hash(all);
}

}  // namespace

std::string default_folder(const std::string& config_path,
                           const std::vector<std::string>& settings) {
  RunOptions from_file = read_options(config_path, {}),
             options = read_options(config_path, settings);
  const std::filesystem::path path(config_path);
  const std::string& method = from_file.method.method;
  std::string name = path.stem().string();
  if (name.find(method) == std::string::npos && method == options.method.method)
    name += "-" + method;
  // configs/cifar10/imp.toml -> cifar10-imp
  const std::string parent = path.parent_path().filename().string();
  if (!parent.empty() && parent != "configs" && parent != "." && parent != "..")
    name = parent + "-" + name;
  name += changes(flatten_config(write_config(from_file.sections()), "config"),
                  flatten_config(write_config(options.sections()), "config"));
  return fmt::format("runs/{}-s{}", name, options.seed);
}

}  // namespace sculpt
