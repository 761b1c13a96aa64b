#include "engine/run/kernel_choices.h"

#include <nlohmann/json.hpp>

#include "engine/core/error.h"
#include "engine/core/file_format.h"
#include "engine/core/files.h"

namespace sculpt {
namespace {

/// In version 1, the choices were the whole object, and no file carried its version.
constexpr FileFormat kFormat{"sculpt-kernel-choices", 2};

/// Returns the object that maps problems to words.
const nlohmann::json& choices_in(const nlohmann::json& values, const std::string& name,
                                 const char* fix) {
  const auto format = values.find("format");
  if (format == values.end()) return values;
  try {
    require_known(format->is_string() ? format->get<std::string>() : format->dump(), kFormat, name);
  } catch (const Error& error) {
    fail("{}; or {}", error.what(), fix);
  }
  const auto choices = values.find("choices");
  if (choices == values.end() || !choices->is_object())
    fail("{} has no object 'choices'; {}", name, fix);
  return *choices;
}

}  // namespace

std::string kernel_choices_json(const kernels::Choices& choices) {
  nlohmann::json words = nlohmann::json::object();
  for (const auto& [problem, choice] : choices)
    words[problem] = kernels::to_string(choice);
  const nlohmann::ordered_json file = {{"format", kFormat.text()}, {"choices", words}};
  // The driver's name for a GPU may not be UTF-8.
  return file.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

kernels::Choices read_kernel_choices(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path)) return {};
  constexpr const char* kFix = "restore the file, or delete it to have kernels timed again";
  const auto values = nlohmann::json::parse(read_text(path), nullptr, /*allow_exceptions=*/false);
  if (!values.is_object()) fail("{} is not a JSON object; {}", path.string(), kFix);
  const nlohmann::json& words = choices_in(values, path.string(), kFix);
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
