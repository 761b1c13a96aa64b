#pragma once
// Finds the format that a JSON object carries (engine/core/file_format.h).

#include <string>

namespace sculpt {

/// Returns the format of a JSON object, or "" if it carries none, as older files do. A value that
/// is not a text, or that is an empty text, is returned as JSON, so that no format matches it.
template <class Json>
std::string format_of(const Json& object) {
  const auto found = object.find("format");
  if (found == object.end()) return "";
  if (found->is_string()) {
    std::string text = found->template get<std::string>();
    if (!text.empty()) return text;
  }
  return found->dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace sculpt
