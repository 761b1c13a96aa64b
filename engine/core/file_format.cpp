#include "engine/core/file_format.h"

#include <charconv>

namespace sculpt {

std::string FileFormat::text() const {
  return fmt::format("{}-{}", kind, version);
}

FormatAge age_of(std::string_view text, const FileFormat& format) {
  if (text.empty()) return FormatAge::known;
  const std::string prefix = std::string(format.kind) + "-";
  if (!text.starts_with(prefix)) return FormatAge::unknown;
  text.remove_prefix(prefix.size());
  int version = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), version);
  if (error != std::errc() || end != text.data() + text.size() || version < 1)
    return FormatAge::unknown;
  return version > format.version ? FormatAge::newer : FormatAge::known;
}

void require_known(std::string_view text, const FileFormat& format, const std::string& place) {
  const FormatAge age = age_of(text, format);
  if (age == FormatAge::newer)
    throw NewerFormat(
        fmt::format("{} has the format {}, which is newer than this program: it reads {}; use the "
                    "program that wrote the file, or a newer one",
                    place, text, format.text()));
  if (age == FormatAge::unknown)
    fail("{} has the format '{}', but this program reads {}", place, text, format.text());
}

}  // namespace sculpt
