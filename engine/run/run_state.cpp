#include "engine/run/run_state.h"

#include <charconv>
#include <cstdlib>
#include <sstream>

#include "engine/core/error.h"

namespace sculpt {
namespace {

struct ToText {
  safetensors::Metadata& metadata;
  template <class T>
  void operator()(const char* name, T& value) {
    metadata[name] = fmt::format("{}", value);  // shortest text that reads back as the same number
  }
};

struct FromText {
  const safetensors::Metadata& metadata;
  const std::string& name_of_source;

  const std::string& text_of(const char* name) const {
    const auto found = metadata.find(name);
    if (found == metadata.end()) fail("{} has no metadata '{}'", name_of_source, name);
    return found->second;
  }
  void operator()(const char* name, int64_t& value) {
    const std::string& text = text_of(name);
    const char* end = text.data() + text.size();
    const auto result = std::from_chars(text.data(), end, value);
    if (result.ec != std::errc() || result.ptr != end || value < 0)
      fail("{}: metadata '{}' is '{}', not a count", name_of_source, name, text);
  }
  void operator()(const char* name, double& value) {
    const std::string& text = text_of(name);
    char* end = nullptr;
    value = std::strtod(text.c_str(), &end);
    if (text.empty() || *end != '\0')
      fail("{}: metadata '{}' is '{}', not a number", name_of_source, name, text);
  }
};

constexpr const char* kHooks = "hooks";

constexpr const char* kOptimizer = "optimizer.";

std::string prefix_of(const std::string& hook) {
  return "hook." + hook + ".";
}

void add_hooks(const std::map<std::string, HookValues>& hooks, safetensors::Metadata& metadata) {
  std::string names;
  for (const auto& [name, values] : hooks) {
    names += (names.empty() ? "" : " ") + name;
    for (const auto& [key, value] : values)
      metadata[prefix_of(name) + key] = value;
  }
  if (!names.empty()) metadata[kHooks] = names;
}

/// Returns the metadata whose keys begin with the prefix, without the prefix.
std::map<std::string, std::string> values_from(const safetensors::Metadata& metadata,
                                               const std::string& prefix) {
  std::map<std::string, std::string> values;
  for (auto i = metadata.lower_bound(prefix); i != metadata.end(); ++i) {
    if (!i->first.starts_with(prefix)) break;
    values[i->first.substr(prefix.size())] = i->second;
  }
  return values;
}

std::map<std::string, HookValues> hooks_from(const safetensors::Metadata& metadata) {
  std::map<std::string, HookValues> hooks;
  const auto found = metadata.find(kHooks);
  if (found == metadata.end()) return hooks;
  std::istringstream names(found->second);
  for (std::string name; names >> name;)
    hooks[name] = values_from(metadata, prefix_of(name));
  return hooks;
}

}  // namespace

safetensors::Metadata to_metadata(RunState state) {
  safetensors::Metadata metadata;
  state.visit(ToText{metadata});
  state.visit_new(ToText{metadata});
  add_hooks(state.hooks, metadata);
  for (const auto& [key, value] : state.optimizer)
    metadata[kOptimizer + key] = value;
  return metadata;
}

RunState state_from(const safetensors::Metadata& metadata, const std::string& name) {
  RunState state;
  state.visit(FromText{metadata, name});
  state.visit_new([&](const char* key, double& value) {
    if (metadata.contains(key))
      FromText{metadata, name}(key, value);
    else
      value = NAN;
  });
  state.hooks = hooks_from(metadata);
  state.optimizer = values_from(metadata, kOptimizer);
  return state;
}

RunState state_from(const safetensors::File& file) {
  return state_from(file.metadata(), file.name());
}

}  // namespace sculpt
