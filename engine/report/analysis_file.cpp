#include "engine/report/analysis_file.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/core/error.h"
#include "engine/core/file_format.h"
#include "engine/core/files.h"
#include "engine/run/json_format.h"

namespace sculpt {
namespace {

using Json = nlohmann::ordered_json;

constexpr FileFormat kFormat{"sculpt-analysis", 1};

// -- Structs to JSON. The keys are the names of the members.

Json number(double value) {
  return std::isfinite(value) ? Json(value) : Json(nullptr);
}

Json numbers(const std::vector<double>& values) {
  Json array = Json::array();
  for (const double value : values)
    array.push_back(number(value));
  return array;
}

Json to_json(const Axis& axis) {
  Json json = {{"label", axis.label}, {"log", axis.log}, {"reversed", axis.reversed}};
  if (!axis.categories.empty()) json["categories"] = axis.categories;
  return json;
}

constexpr std::pair<Mark, std::string_view> kMarks[] = {{Mark::line, "line"},
                                                        {Mark::points, "points"},
                                                        {Mark::line_and_points, "line_and_points"},
                                                        {Mark::steps, "steps"}};

Json to_json(const Series& series) {
  const auto mark = std::find_if(std::begin(kMarks), std::end(kMarks),
                                 [&](const auto& row) { return row.first == series.mark; });
  return {{"name", series.name},    {"mark", mark->second},    {"x", numbers(series.x)},
          {"y", numbers(series.y)}, {"labels", series.labels}, {"spread", numbers(series.spread)},
          {"group", series.group},  {"pale", series.pale}};
}

Json to_json(const Figure& figure) {
  Json series = Json::array(), boundaries = Json::array();
  for (const Series& one : figure.series)
    series.push_back(to_json(one));
  for (const Boundary& boundary : figure.boundaries)
    boundaries.push_back({{"x", number(boundary.x)}, {"label", boundary.label}});
  return {{"name", figure.name},     {"title", figure.title},  {"caption", figure.caption},
          {"x", to_json(figure.x)},  {"y", to_json(figure.y)}, {"series", series},
          {"boundaries", boundaries}};
}

Json to_json(const HeatMap& map) {
  return {{"name", map.name},      {"title", map.title},    {"caption", map.caption},
          {"x", to_json(map.x)},   {"y", to_json(map.y)},   {"value_label", map.value_label},
          {"xs", numbers(map.xs)}, {"ys", numbers(map.ys)}, {"values", numbers(map.values)},
          {"log", map.log}};
}

Json to_json(const Table& table) {
  Json json = {{"name", table.name},
               {"title", table.title},
               {"caption", table.caption},
               {"columns", table.columns},
               {"rows", table.rows}};
  if (!table.csv_columns.empty()) {
    json["csv_columns"] = table.csv_columns;
    json["csv_rows"] = table.csv_rows;
  }
  return json;
}

template <class T>
Json to_json_array(const std::vector<T>& values) {
  Json array = Json::array();
  for (const T& value : values)
    array.push_back(to_json(value));
  return array;
}

// -- JSON to structs. Errors name the key that is missing or that has another type.

const Json& part(const Json& json, const char* key) {
  if (!json.is_object()) fail("the part that should have '{}' is not a JSON object", key);
  const auto found = json.find(key);
  if (found == json.end()) fail("'{}' is missing", key);
  return *found;
}

template <class T>
T get(const Json& json, const char* key) {
  const Json& value = part(json, key);
  try {
    return value.get<T>();
  } catch (const Json::exception&) {
    fail("'{}' has another type than the format says", key);
  }
}

/// Returns the elements of an array. Throws Error if the value is something else.
const Json& array(const Json& json, const char* key) {
  const Json& value = part(json, key);
  if (!value.is_array()) fail("'{}' is not a list", key);
  return value;
}

double number_in(const Json& value, const char* key) {
  if (!value.is_null() && !value.is_number()) fail("'{}' is not a number", key);
  return value.is_null() ? NAN : value.get<double>();
}

std::vector<double> numbers_in(const Json& json, const char* key) {
  std::vector<double> values;
  for (const Json& value : array(json, key))
    values.push_back(number_in(value, key));
  return values;
}

using Texts = std::vector<std::string>;

Axis axis_in(const Json& json) {
  Axis axis{get<std::string>(json, "label"), get<bool>(json, "log"), get<bool>(json, "reversed")};
  if (json.contains("categories")) axis.categories = get<Texts>(json, "categories");
  return axis;
}

Mark mark_in(const std::string& name) {
  for (const auto& [mark, text] : kMarks)
    if (text == name) return mark;
  fail("a series has the mark '{}'", name);
}

Series series_in(const Json& json) {
  Series series;
  series.name = get<std::string>(json, "name");
  series.mark = mark_in(get<std::string>(json, "mark"));
  series.x = numbers_in(json, "x");
  series.y = numbers_in(json, "y");
  series.spread = numbers_in(json, "spread");
  series.labels = get<Texts>(json, "labels");
  series.group = get<int64_t>(json, "group");
  series.pale = get<bool>(json, "pale");
  const size_t count = series.x.size();
  if (series.y.size() != count || (!series.spread.empty() && series.spread.size() != count) ||
      (!series.labels.empty() && series.labels.size() != count))
    fail("the series '{}' has {} values of x, {} of y, {} spreads and {} labels", series.name,
         count, series.y.size(), series.spread.size(), series.labels.size());
  return series;
}

Figure figure_in(const Json& json) {
  Figure figure{get<std::string>(json, "name"),
                get<std::string>(json, "title"),
                get<std::string>(json, "caption"),
                axis_in(part(json, "x")),
                axis_in(part(json, "y")),
                {},
                {}};
  for (const Json& series : array(json, "series"))
    figure.series.push_back(series_in(series));
  for (const Json& boundary : array(json, "boundaries"))
    figure.boundaries.push_back(
        {number_in(part(boundary, "x"), "x"), get<std::string>(boundary, "label")});
  return figure;
}

HeatMap heat_map_in(const Json& json) {
  HeatMap map{get<std::string>(json, "name"),
              get<std::string>(json, "title"),
              get<std::string>(json, "caption"),
              axis_in(part(json, "x")),
              axis_in(part(json, "y")),
              get<std::string>(json, "value_label"),
              numbers_in(json, "xs"),
              numbers_in(json, "ys"),
              numbers_in(json, "values"),
              get<bool>(json, "log")};
  if (map.values.size() != map.xs.size() * map.ys.size())
    fail("the map '{}' has {} values for a grid of {} x {}", map.name, map.values.size(),
         map.xs.size(), map.ys.size());
  return map;
}

void require_width(const std::string& table, const Texts& columns, const std::vector<Texts>& rows) {
  for (const Texts& row : rows)
    if (row.size() != columns.size())
      fail("the table '{}' has {} columns and a row of {} texts", table, columns.size(),
           row.size());
}

Table table_in(const Json& json) {
  Table table{get<std::string>(json, "name"), get<std::string>(json, "title"),
              get<std::string>(json, "caption"), get<Texts>(json, "columns"),
              get<std::vector<Texts>>(json, "rows")};
  require_width(table.name, table.columns, table.rows);
  // Files of earlier versions have no texts with all digits.
  if (!json.contains("csv_columns")) return table;
  table.csv_columns = get<Texts>(json, "csv_columns");
  table.csv_rows = get<std::vector<Texts>>(json, "csv_rows");
  require_width(table.name, table.csv_columns, table.csv_rows);
  return table;
}

Analysis analysis_in(const Json& json) {
  Analysis analysis;
  analysis.name = get<std::string>(json, "name");
  analysis.title = get<std::string>(json, "title");
  analysis.command = get<std::string>(json, "command");
  analysis.notes = get<Texts>(json, "notes");
  const Json& values = part(json, "values");
  if (!values.is_object()) fail("'values' is not a JSON object");
  for (const auto& [key, value] : values.items())
    analysis.values[key] = number_in(value, key.c_str());
  for (const Json& figure : array(json, "figures"))
    analysis.figures.push_back(figure_in(figure));
  for (const Json& map : array(json, "heat_maps"))
    analysis.heat_maps.push_back(heat_map_in(map));
  for (const Json& table : array(json, "tables"))
    analysis.tables.push_back(table_in(table));
  return analysis;
}

/// Returns the command that makes a damaged file again, as far as the file says it.
std::string command_in(const Json& json) {
  if (json.is_object())
    if (const auto found = json.find("command");
        found != json.end() && found->is_string() && !found->get<std::string>().empty())
      return found->get<std::string>();
  return "sculpt_analyze";
}

std::filesystem::path folder_of_analyses(const std::filesystem::path& run_folder) {
  return run_folder / "analysis";
}

}  // namespace

void write_analysis(const std::filesystem::path& run_folder, const Analysis& analysis) {
  Json values = Json::object();
  for (const auto& [key, value] : analysis.values)
    values[key] = number(value);
  const Json file = {{"format", kFormat.text()},
                     {"name", analysis.name},
                     {"title", analysis.title},
                     {"command", analysis.command},
                     {"notes", analysis.notes},
                     {"values", values},
                     {"figures", to_json_array(analysis.figures)},
                     {"heat_maps", to_json_array(analysis.heat_maps)},
                     {"tables", to_json_array(analysis.tables)}};
  const std::filesystem::path folder = folder_of_analyses(run_folder);
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error)
    fail("cannot create {} ({}); check the path and the rights to write there", folder.string(),
         error.message());
  // A command may hold a path that is not UTF-8.
  write_file(folder / (analysis.name + ".json"),
             file.dump(1, ' ', false, Json::error_handler_t::replace) + "\n");
}

Analysis read_analysis(const std::filesystem::path& file) {
  const std::string name = file.string();
  const Json json = Json::parse(read_text(file), nullptr, /*allow_exceptions=*/false);
  const auto damaged = [&](const std::string& why) {
    fail("{} is damaged: {}; delete the file, and make it again with {}", name, why,
         command_in(json));
  };
  if (!json.is_object()) damaged("it is not a JSON object");
  const std::string format = format_of(json);
  if (age_of(format, kFormat) == FormatAge::unknown)
    damaged(fmt::format("its format is {}", format));
  require_known(format, kFormat, name);
  std::string why;
  try {
    return analysis_in(json);
  } catch (const Error& error) {
    why = error.what();
  }
  damaged(why);
  return {};
}

std::vector<std::filesystem::path> analysis_files(const std::filesystem::path& run_folder) {
  std::vector<std::filesystem::path> files;
  std::error_code error;
  for (const auto& entry :
       std::filesystem::directory_iterator(folder_of_analyses(run_folder), error))
    if (entry.path().extension() == ".json" && entry.is_regular_file())
      files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace sculpt
