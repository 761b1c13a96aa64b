#include "engine/run/record_file.h"

#include <nlohmann/json.hpp>

#include "engine/core/error.h"
#include "engine/core/files.h"
#include "engine/run/json_format.h"

namespace sculpt {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kBlank = " \t\r\n";

/// Returns the length of the JSON object at the start of the text, or 0 if the object does not end
/// on its line.
size_t object_length(std::string_view text) {
  int depth = 0;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\n') return 0;
    if (quoted) {
      if (c == '\\') ++i;
      if (c == '"') quoted = false;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '{') {
      ++depth;
    } else if (c == '}' && --depth == 0) {
      return i + 1;
    }
  }
  return 0;
}

struct Record {
  std::string_view text;
  nlohmann::json value;
  bool after_damage = false;  ///< something that is not a record stands before it
};

/// Returns the records of a text. Several records may share a line if a line break was lost. Text
/// that is not an object is skipped up to the end of its line. An object that carries the format of
/// something else is skipped, too.
std::vector<Record> records_of(std::string_view text, const FileFormat& format) {
  std::vector<Record> records;
  bool damage = false;
  size_t place = 0;
  while ((place = text.find_first_not_of(kBlank, place)) != std::string_view::npos) {
    const std::string_view rest = text.substr(place);
    const size_t length = rest[0] == '{' ? object_length(rest) : 0;
    auto value = nlohmann::json::parse(rest.substr(0, length), nullptr, /*allow_exceptions=*/false);
    if (length > 0 && value.is_object()) {
      if (age_of(format_of(value), format) == FormatAge::unknown)
        damage = true;
      else
        records.push_back({rest.substr(0, length), std::move(value), damage});
      place += length;
    } else {
      damage = true;
      place = std::min(text.find('\n', place), text.size());
    }
  }
  return records;
}

bool belongs(const Record& record, const RecordFile::Extent& extent) {
  const auto found = record.value.find(extent.key);
  return found == record.value.end() || !found->is_number_integer() ||
         found->get<int64_t>() <= extent.last;
}

/// Turns metrics.jsonl into metrics.damaged-1.jsonl, or into the first of metrics.damaged-2.jsonl,
/// ... that does not exist.
fs::path damaged_name(const fs::path& path) {
  for (int number = 1;; ++number) {
    fs::path name = path.parent_path() / fmt::format("{}.damaged-{}{}", path.stem().string(),
                                                     number, path.extension().string());
    if (!fs::exists(name)) return name;
  }
}

}  // namespace

bool RecordFile::empty() const {
  return !fs::exists(path_) || read_text(path_).find_first_not_of(kBlank) == std::string::npos;
}

void RecordFile::append(std::string_view lines) {
  append_to_file(path_, lines);
}

void RecordFile::require_known_format() const {
  if (!fs::exists(path_)) return;
  const std::string text = read_text(path_);
  for (const Record& record : records_of(text, format_))
    require_known(format_of(record.value), format_, path_.string());
}

int64_t RecordFile::keep(const Extent& extent, std::vector<std::string>& warnings) {
  const bool exists = fs::exists(path_);
  const std::string text = exists ? read_text(path_) : std::string();
  int64_t count = 0;
  bool damage = false;
  std::string kept;
  const auto records = records_of(text, format_);
  for (const Record& record : records) {
    if (count == extent.count) break;
    if (!belongs(record, extent)) continue;
    kept += std::string(record.text) + "\n";
    damage = record.after_damage;
    ++count;
  }
  if (count < extent.count && !exists) {
    warnings.push_back(
        fmt::format("{} is missing, so {} records are lost; the run goes on without them",
                    path_.string(), extent.count));
  } else if (count < extent.count || damage) {
    const fs::path aside = damaged_name(path_);
    write_file(aside, text);
    warnings.push_back(fmt::format(
        "{} is damaged: {} of the {} records written before the checkpoint can be read. The "
        "damaged file is kept as {}, and the run goes on with the records that can be read",
        path_.string(), count, extent.count, aside.string()));
  } else if (!text.starts_with(kept)) {
    warnings.push_back(fmt::format("{}: some records shared a line; the line breaks are repaired",
                                   path_.string()));
  }
  if (kept != text) write_file(path_, kept);
  return count;
}

}  // namespace sculpt
