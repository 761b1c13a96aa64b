#include "engine/report/csv.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

#include "engine/report/markup.h"
#include "engine/report/table_cells.h"

namespace sculpt {
namespace {

std::string label_or(const Axis& axis, const char* otherwise) {
  return csv_field(axis.label.empty() ? otherwise : axis.label);
}

/// Returns the number, or the name of the nearest place if the axis names its places.
std::string place_field(const Axis& axis, double value) {
  if (axis.categories.empty() || !std::isfinite(value)) return exact_text(value);
  const auto place = std::clamp<int64_t>(std::llround(value), 1, std::ssize(axis.categories));
  return csv_field(axis.categories[static_cast<size_t>(place - 1)]);
}

}  // namespace

std::string csv_field(std::string_view text) {
  const std::string valid = valid_text(text);
  if (valid.find_first_of(",\"\n\r") == std::string::npos) return valid;
  std::string quoted = "\"";
  for (const char c : valid) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + "\"";
}

std::string csv_of(const Figure& figure) {
  const auto any = [&](auto member) {
    return std::ranges::any_of(figure.series,
                               [&](const Series& s) { return !(s.*member).empty(); });
  };
  const bool spread = any(&Series::spread), labels = any(&Series::labels);
  std::string text = fmt::format("series,{},{}", label_or(figure.x, "x"), label_or(figure.y, "y"));
  text += spread ? ",spread" : "";
  text += labels ? ",label\n" : "\n";
  for (const Series& series : figure.series) {
    const std::string name = csv_field(series.name);
    for (size_t i = 0; i < series.x.size(); ++i) {
      text += name + "," + place_field(figure.x, series.x[i]) + "," +
              place_field(figure.y, series.y[i]);
      if (spread) text += "," + (series.spread.empty() ? "" : exact_text(series.spread[i]));
      if (labels) text += "," + (series.labels.empty() ? "" : csv_field(series.labels[i]));
      text += "\n";
    }
  }
  return text;
}

std::string csv_of(const HeatMap& map) {
  std::string text = fmt::format("{},{},{}\n", label_or(map.x, "x"), label_or(map.y, "y"),
                                 csv_field(map.value_label.empty() ? "value" : map.value_label));
  for (size_t y = 0; y < map.ys.size(); ++y)
    for (size_t x = 0; x < map.xs.size(); ++x)
      text += exact_text(map.xs[x]) + "," + exact_text(map.ys[y]) + "," +
              exact_text(map.values[y * map.xs.size() + x]) + "\n";
  return text;
}

std::string csv_of(const Table& table) {
  std::string text;
  const auto add = [&](const std::vector<std::string>& row) {
    for (size_t i = 0; i < row.size(); ++i)
      text += (i > 0 ? "," : "") + csv_field(row[i]);
    text += "\n";
  };
  const bool exact = !table.csv_columns.empty();
  add(exact ? table.csv_columns : table.columns);
  for (const auto& row : exact ? table.csv_rows : table.rows)
    add(row);
  return text;
}

std::vector<ReportFile> csv_files(const Report& report) {
  std::vector<ReportFile> files;
  const auto add = [&](const auto& shown) {
    files.push_back({shown.name + ".csv", csv_of(shown)});
  };
  for (const Section& section : report.sections) {
    std::ranges::for_each(section.figures, add);
    std::ranges::for_each(section.heat_maps, add);
    std::ranges::for_each(section.tables, add);
  }
  return files;
}

}  // namespace sculpt
