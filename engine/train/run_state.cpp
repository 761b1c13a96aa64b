#include "engine/train/run_state.h"

#include <charconv>
#include <cstdlib>
#include <nlohmann/json.hpp>

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
  const safetensors::File& file;

  void operator()(const char* name, int64_t& value) {
    const std::string& text = file.metadata(name);
    const char* end = text.data() + text.size();
    const auto result = std::from_chars(text.data(), end, value);
    if (result.ec != std::errc() || result.ptr != end || value < 0)
      fail("{}: metadata '{}' is '{}', not a count", file.name(), name, text);
  }
  void operator()(const char* name, double& value) {
    const std::string& text = file.metadata(name);
    char* end = nullptr;
    value = std::strtod(text.c_str(), &end);
    if (text.empty() || *end != '\0')
      fail("{}: metadata '{}' is '{}', not a number", file.name(), name, text);
  }
};

constexpr const char* kChoices = "kernel_choices";

std::string to_text(const kernels::Choices& choices) {
  nlohmann::json words = nlohmann::json::object();
  for (const auto& [problem, choice] : choices)
    words[problem] = kernels::to_string(choice);
  return words.dump();
}

kernels::Choices choices_from(const safetensors::File& file) {
  kernels::Choices choices;
  const auto words = nlohmann::json::parse(file.metadata(kChoices), nullptr, false);
  if (!words.is_object()) fail("{}: metadata '{}' is no JSON object", file.name(), kChoices);
  for (const auto& [problem, word] : words.items()) {
    const auto choice = kernels::choice_from(word.is_string() ? word.get<std::string>() : "");
    if (!choice) fail("{}: metadata '{}' chooses {}", file.name(), kChoices, word.dump());
    choices[problem] = *choice;
  }
  return choices;
}

}  // namespace

safetensors::Metadata to_metadata(RunState state) {
  safetensors::Metadata metadata;
  state.visit(ToText{metadata});
  metadata[kChoices] = to_text(state.kernel_choices);
  return metadata;
}

RunState state_from(const safetensors::File& file) {
  RunState state;
  state.visit(FromText{file});
  state.kernel_choices = choices_from(file);
  return state;
}

}  // namespace sculpt
