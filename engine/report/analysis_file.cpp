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
  return {{"name", table.name},
          {"title", table.title},
          {"caption", table.caption},
          {"columns", table.columns},
          {"rows", table.rows}};
}

template <class T>
Json to_json_array(const std::vector<T>& values) {
  Json array = Json::array();
  for (const T& value : values)
    array.push_back(to_json(value));
  return array;
}

// -- JSON to structs. nlohmann's exceptions name the key or the type that is wrong.

double number_in(const Json& value) {
  return value.is_null() ? NAN : value.get<double>();
}

std::vector<double> numbers_in(const Json& array) {
  std::vector<double> values;
  for (const Json& value : array)
    values.push_back(number_in(value));
  return values;
}

Axis axis_in(const Json& json) {
  Axis axis{json.at("label"), json.at("log"), json.at("reversed")};
  if (json.contains("categories"))
    axis.categories = json.at("categories").get<std::vector<std::string>>();
  return axis;
}

Mark mark_in(const Json& json) {
  const std::string name = json.get<std::string>();
  for (const auto& [mark, text] : kMarks)
    if (text == name) return mark;
  fail("a series has the mark '{}'", name);
}

Series series_in(const Json& json) {
  Series series;
  series.name = json.at("name");
  series.mark = mark_in(json.at("mark"));
  series.x = numbers_in(json.at("x"));
  series.y = numbers_in(json.at("y"));
  series.spread = numbers_in(json.at("spread"));
  series.labels = json.at("labels").get<std::vector<std::string>>();
  series.group = json.at("group");
  series.pale = json.at("pale");
  const size_t count = series.x.size();
  if (series.y.size() != count || (!series.spread.empty() && series.spread.size() != count) ||
      (!series.labels.empty() && series.labels.size() != count))
    fail("the series '{}' has {} values of x, {} of y, {} spreads and {} labels", series.name,
         count, series.y.size(), series.spread.size(), series.labels.size());
  return series;
}

Figure figure_in(const Json& json) {
  Figure figure{json.at("name"),
                json.at("title"),
                json.at("caption"),
                axis_in(json.at("x")),
                axis_in(json.at("y")),
                {},
                {}};
  for (const Json& series : json.at("series"))
    figure.series.push_back(series_in(series));
  for (const Json& boundary : json.at("boundaries"))
    figure.boundaries.push_back({number_in(boundary.at("x")), boundary.at("label")});
  return figure;
}

HeatMap heat_map_in(const Json& json) {
  HeatMap map{json.at("name"),
              json.at("title"),
              json.at("caption"),
              axis_in(json.at("x")),
              axis_in(json.at("y")),
              json.at("value_label"),
              numbers_in(json.at("xs")),
              numbers_in(json.at("ys")),
              numbers_in(json.at("values")),
              json.at("log")};
  if (map.values.size() != map.xs.size() * map.ys.size())
    fail("the map '{}' has {} values for a grid of {} x {}", map.name, map.values.size(),
         map.xs.size(), map.ys.size());
  return map;
}

Table table_in(const Json& json) {
  Table table{json.at("name"), json.at("title"), json.at("caption"),
              json.at("columns").get<std::vector<std::string>>(),
              json.at("rows").get<std::vector<std::vector<std::string>>>()};
  for (const auto& row : table.rows)
    if (row.size() != table.columns.size())
      fail("the table '{}' has {} columns and a row of {} texts", table.name, table.columns.size(),
           row.size());
  return table;
}

Analysis analysis_in(const Json& json) {
  Analysis analysis;
  analysis.name = json.at("name");
  analysis.title = json.at("title");
  analysis.command = json.at("command");
  analysis.notes = json.at("notes").get<std::vector<std::string>>();
  for (const auto& [key, value] : json.at("values").items())
    analysis.values[key] = number_in(value);
  for (const Json& figure : json.at("figures"))
    analysis.figures.push_back(figure_in(figure));
  for (const Json& map : json.at("heat_maps"))
    analysis.heat_maps.push_back(heat_map_in(map));
  for (const Json& table : json.at("tables"))
    analysis.tables.push_back(table_in(table));
  return analysis;
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
  constexpr const char* kFix = "run the analysis again, or delete the file";
  if (!json.is_object()) fail("{} is not a JSON object; {}", name, kFix);
  require_known(format_of(json), kFormat, name);
  try {
    return analysis_in(json);
  } catch (const std::exception& error) {
    fail("{} is damaged ({}); {}", name, error.what(), kFix);
  }
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
