#include "engine/run/kernel_choices.h"

#include <nlohmann/json.hpp>

#include "engine/core/error.h"
#include "engine/core/file_format.h"
#include "engine/core/files.h"
#include "engine/run/json_format.h"

namespace sculpt {
namespace {

/// Files of version 1 carry no version, and the whole object holds their choices.
constexpr FileFormat kFormat{"sculpt-kernel-choices", 2};

/// Returns the object that maps problems to words.
const nlohmann::json& choices_in(const nlohmann::json& values, const std::string& name,
                                 const char* fix) {
  if (!values.contains("format")) return values;
  try {
    require_known(format_of(values), kFormat, name);
  } catch (const NewerFormat& error) {
    fail("{}, or delete the file to have kernels timed again", error.what());
  } catch (const Error& error) {
    fail("{}; {}", error.what(), fix);
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
           word.is_string() ? word.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)
                            : fmt::format("of the type {}", word.type_name()),
           kFix);
    choices[problem] = *choice;
  }
  return choices;
}

}  // namespace sculpt
