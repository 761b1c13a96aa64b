#pragma once
// Names settings in the names of files and folders: "sparsity0.9", "schedule-cosine".

#include <string>

namespace sculpt {

/// Returns the text with letters, digits, points, signs and underscores only. Each run of other
/// characters becomes one '-', and none is at the end.
std::string file_name_text(const std::string& text);

/// Returns 8 hexadecimal digits that depend on the text.
std::string short_hash(const std::string& text);

/// Returns a short name for a setting: "width0.3" for the key "model.width" and the TOML text
/// "0.3". The name has the section, too, if `with_section` is true. The names of models and data
/// sets stand alone: "resnet20". A value that is too long, or that has other characters than a file
/// name, is shortened and ends in a hash of the value.
std::string setting_name(const std::string& key, const std::string& toml, bool with_section);

}  // namespace sculpt
