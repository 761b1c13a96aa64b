#include "engine/run/record_lines.h"

#include <nlohmann/json.hpp>
#include <string_view>

#include "engine/core/error.h"
#include "engine/core/files.h"
#include "engine/run/json_format.h"

namespace sculpt {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

/// Returns the number under a key; not a number if there is none.
double number(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number() ? found->get<double>() : NAN;
}

int64_t whole(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number() ? found->get<int64_t>() : 0;
}

std::string text(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

EpochMetrics epoch_of(const Json& line) {
  EpochMetrics epoch;
  epoch.cycle = whole(line, "cycle");
  epoch.cycle_epoch = whole(line, "cycle_epoch");
  epoch.epoch = whole(line, "epoch");
  epoch.lr = number(line, "lr");
  epoch.train_loss = number(line, "train_loss");
  epoch.train_accuracy = number(line, "train_accuracy");
  epoch.test_loss = number(line, "test_loss");
  epoch.test_accuracy = number(line, "test_accuracy");
  epoch.density = number(line, "density");
  epoch.images_per_second = number(line, "images_per_second");
  epoch.seconds = number(line, "seconds");
  epoch.diverged = line.value("diverged", Json(false)) == Json(true);
  return epoch;
}

LayerRecord layer_of(const Json& line) {
  LayerRecord layer;
  layer.plan_step = whole(line, "plan_step");
  layer.epoch = whole(line, "epoch");
  layer.is_prune = line.contains("criterion");
  layer.changed_by = text(line, layer.is_prune ? "criterion" : "changed_by");
  layer.layer = text(line, "layer");
  layer.count = whole(line, "count");
  layer.kept = whole(line, "kept");
  return layer;
}

PruneRecord prune_of(const Json& line) {
  PruneRecord prune;
  prune.plan_step = whole(line, "plan_step");
  prune.epoch = whole(line, "epoch");
  prune.criterion = text(line, "criterion");
  prune.allocation = text(line, "allocation");
  prune.density = number(line, "density");
  prune.prunable = whole(line, "prunable");
  prune.kept = whole(line, "kept");
  prune.test_loss = number(line, "test_loss");
  prune.test_accuracy = number(line, "test_accuracy");
  return prune;
}

/// The rules that tell whether a line of a record file is damaged, and the words for what a reader
/// then misses.
struct LineRules {
  std::vector<std::string_view> needed;   ///< keys whose values must be numbers
  std::vector<std::string_view> numbers;  ///< keys whose values are numbers or null, if they exist
  std::string_view missing;               ///< "the values of one epoch are"
};

const LineRules& metrics_rules() {
  static const LineRules rules{{"cycle", "cycle_epoch", "epoch"},
                               {"lr", "train_loss", "train_accuracy", "test_loss", "test_accuracy",
                                "density", "images_per_second", "seconds"},
                               "the values of one epoch are"};
  return rules;
}

const LineRules& layers_rules() {
  static const LineRules rules{
      {"plan_step", "epoch", "count", "kept"}, {}, "the kept weights of one layer are"};
  return rules;
}

const LineRules& prunes_rules() {
  static const LineRules rules{{"plan_step", "epoch", "prunable", "kept"},
                               {"density", "test_loss", "test_accuracy"},
                               "the values of one prune are"};
  return rules;
}

/// Returns what is wrong with a line, to follow its place; "" if nothing is.
std::string damage_of(const Json& line, const FileFormat& format, const LineRules& rules) {
  if (!line.is_object()) return "is not a JSON object";
  if (age_of(format_of(line), format) == FormatAge::unknown)
    return fmt::format("has the format {}", format_of(line));
  for (const std::string_view key : rules.needed)
    if (const auto found = line.find(key); found == line.end() || !found->is_number())
      return fmt::format("has no number as '{}'", key);
  for (const std::string_view key : rules.numbers)
    if (const auto found = line.find(key);
        found != line.end() && !found->is_number() && !found->is_null())
      return fmt::format("has no number as '{}'", key);
  return "";
}

/// Returns what `record_of` makes of each line that is not damaged.
template <class Record>
std::vector<Record> read_lines(const fs::path& file, const FileFormat& format,
                               const LineRules& rules, Record (*record_of)(const Json&),
                               bool finished, std::vector<std::string>& problems) {
  std::vector<Record> records;
  std::error_code error;
  if (!fs::exists(file, error)) return records;
  std::string all;
  try {
    // A device, such as one that a link of that name leads to, may have no end.
    if (!fs::is_regular_file(file, error)) fail("{} is no ordinary file", file.string());
    all = read_text(file);
  } catch (const Error& failure) {
    problems.push_back(fmt::format("{} cannot be read, so its records are missing: {}.",
                                   file.string(), failure.what()));
    return records;
  }
  size_t begin = 0;
  for (int64_t number = 1; begin < all.size(); ++number) {
    const size_t end = all.find('\n', begin);
    const bool whole_line = end != std::string::npos;
    const size_t length = (whole_line ? end : all.size()) - begin;
    const char* const first = all.data() + begin;
    begin += length + 1;
    // A line without its end is just being written, or was cut off by a kill.
    if (!whole_line && !finished) break;
    const std::string place = fmt::format("{}, line {}", file.string(), number);
    std::string damage = "has no end";
    if (whole_line) {
      const Json line = Json::parse(first, first + length, nullptr, /*allow_exceptions=*/false);
      if (line.is_object() && age_of(format_of(line), format) == FormatAge::newer)
        require_known(format_of(line), format, place);
      damage = damage_of(line, format, rules);
      if (damage.empty()) records.push_back(record_of(line));
    }
    if (!damage.empty())
      problems.push_back(fmt::format("{} is damaged and is left out, so {} missing: it {}.", place,
                                     rules.missing, damage));
  }
  return records;
}

}  // namespace

std::vector<EpochMetrics> read_epochs(const fs::path& file, bool finished,
                                      std::vector<std::string>& problems) {
  return read_lines(file, metrics_format(), metrics_rules(), epoch_of, finished, problems);
}

std::vector<LayerRecord> read_layers(const fs::path& file, bool finished,
                                     std::vector<std::string>& problems) {
  return read_lines(file, layers_format(), layers_rules(), layer_of, finished, problems);
}

std::vector<PruneRecord> read_prunes(const fs::path& file, bool finished,
                                     std::vector<std::string>& problems) {
  return read_lines(file, prunes_format(), prunes_rules(), prune_of, finished, problems);
}

}  // namespace sculpt
