#include "engine/report/series_style.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <map>

#include "engine/report/svg.h"
#include "engine/report/svg_parts.h"

namespace sculpt {
namespace {

constexpr double kRow = 19, kSample = 26, kMargin = 14;
constexpr size_t kMostMarkers = 40;

/// Returns a piece of the line and a marker of a series.
std::string sample(SvgTarget target, const Styled& one, double x, double y) {
  std::string text;
  // A line of one point is not to be seen.
  if (has_line(*one.series) && !(has_markers(*one.series) && one.series->x.size() < 2))
    text += fmt::format("<path d=\"M{} {}h{}\"{}{} stroke-width=\"1.9\"/>\n", coordinate(x),
                        coordinate(y), kSample, series_stroke(target, one.style),
                        one.series->pale ? std::string(" opacity=\".4\"") : dashes(one.style));
  if (has_markers(*one.series))
    text += fmt::format("<path d=\"{}\"{}/>\n", marker_path(one.style, x + kSample / 2, y, kMarker),
                        marker_ink(target, one.style));
  return text;
}

}  // namespace

bool has_line(const Series& series) {
  return series.mark != Mark::points;
}

bool has_markers(const Series& series) {
  return series.mark == Mark::points ||
         (series.mark == Mark::line_and_points && series.x.size() <= kMostMarkers);
}

std::vector<Styled> styled(const Figure& figure) {
  std::vector<Styled> found;
  std::map<int64_t, size_t> of_group;
  size_t next = 0;
  for (const Series& series : figure.series) {
    size_t style = next;
    if (series.group >= 0) style = of_group.try_emplace(series.group, next).first->second;
    if (style == next) ++next;
    found.push_back({&series, style});
  }
  return found;
}

double spread_at(const Series& series, size_t i) {
  return series.spread.empty() || !std::isfinite(series.spread[i]) ? 0 : series.spread[i];
}

std::string marker_ink(SvgTarget target, size_t style) {
  return marker_is_open(style) ? series_stroke(target, style) + " stroke-width=\"1.6\""
                               : series_fill(target, style);
}

Legend legend_of(SvgTarget target, const std::vector<Styled>& series, double left, double top) {
  std::vector<std::pair<Styled, std::string>> entries;
  double widest = 0;
  for (const Styled& one : series) {
    if (one.series->name.empty()) continue;
    const std::string name =
        fitted(one.series->name, kNumberSize, kSvgWidth - kSample - 2 * kMargin);
    entries.emplace_back(one, name);
    widest = std::max(widest, kSample + 6 + text_width(name, kNumberSize) + kMargin);
  }
  if (entries.empty()) return {};
  const double room = kSvgWidth - left;
  const auto columns = std::clamp<size_t>(static_cast<size_t>(room / widest), 1, entries.size());
  const size_t rows = (entries.size() + columns - 1) / columns;
  const double column = std::min(room / static_cast<double>(columns), widest + 24);
  Legend legend;
  for (size_t i = 0; i < entries.size(); ++i) {
    // Down the columns, so that neighbours in the order of the series stay neighbours.
    const double x = left + column * static_cast<double>(i / rows);
    const double y = top + 8 + kRow * static_cast<double>(i % rows);
    legend.svg += sample(target, entries[i].first, x, y);
    legend.svg += svg_text(target, Part::text, {x + kSample + 6, y + 4.2}, entries[i].second);
  }
  legend.height = kRow * static_cast<double>(rows) + 4;
  return legend;
}

}  // namespace sculpt
