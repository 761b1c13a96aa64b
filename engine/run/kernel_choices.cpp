#include "engine/run/kernel_choices.h"

#include <nlohmann/json.hpp>

#include "engine/core/error.h"
#include "engine/core/files.h"

namespace sculpt {

std::string kernel_choices_json(const kernels::Choices& choices) {
  nlohmann::json words = nlohmann::json::object();
  for (const auto& [problem, choice] : choices)
    words[problem] = kernels::to_string(choice);
  // The driver's name for a GPU may not be UTF-8.
  return words.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

kernels::Choices read_kernel_choices(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path)) return {};
  constexpr const char* kFix = "restore the file, or delete it to have kernels timed again";
  const auto words = nlohmann::json::parse(read_text(path), nullptr, /*allow_exceptions=*/false);
  if (!words.is_object()) fail("{} is not a JSON object; {}", path.string(), kFix);
  kernels::Choices choices;
  for (const auto& [problem, word] : words.items()) {
    const auto choice = kernels::choice_from(word.is_string() ? word.get<std::string>() : "");
    if (!choice)
      fail("{}: '{}' is {}, not native, library or sparse; {}", path.string(), problem,
           word.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace), kFix);
    choices[problem] = *choice;
  }
  return choices;
}

}  // namespace sculpt
