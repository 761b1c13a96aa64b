#include "engine/report/svg_parts.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

#include "engine/report/markup.h"
#include "engine/report/svg.h"

namespace sculpt {
namespace {

constexpr double kTick = 4, kMinorTick = 2.5;
constexpr size_t kWantedY = 5;
constexpr double kWidestCategory = 170;
// The distance of the lines of a label that has two.
constexpr double kLine = 13.5;
// Turned labels rise by this angle, and so by this share of their widths (the sine of the angle).
constexpr int kTurnedDegrees = 35;
constexpr double kTurnedRise = 0.5736;

/// Returns the ticks of the x axis. There are fewer of them if their labels would touch.
Ticks fitting_x_ticks(const Scale& scale, double width) {
  Ticks ticks;
  for (size_t wanted = 7; wanted >= 2; --wanted) {
    ticks = scale.ticks(wanted);
    double nearest = width, widest = 0;
    for (size_t i = 0; i < ticks.values.size(); ++i) {
      widest = std::max(widest, text_width(ticks.labels[i], kNumberSize));
      if (i > 0)
        nearest = std::min(nearest, std::abs(scale(ticks.values[i]) - scale(ticks.values[i - 1])));
    }
    if (widest + 8 <= nearest) break;
  }
  return ticks;
}

/// Returns the names of categories at their places.
Ticks category_ticks(const Axis& axis) {
  Ticks ticks;
  for (const std::string& name : axis.categories) {
    ticks.values.push_back(static_cast<double>(ticks.values.size() + 1));
    ticks.labels.push_back(fitted(name, kNumberSize, kWidestCategory));
  }
  return ticks;
}

/// Returns the ticks of the y axis: round numbers, or the names of categories.
Ticks y_ticks(const Axis& axis, const Scale& scale) {
  return axis.categories.empty() ? scale.ticks(kWantedY) : category_ticks(axis);
}

/// Returns the lines of each label of the y axis.
std::vector<std::vector<std::string>> y_labels(const Axis& axis, const Ticks& ticks) {
  std::vector<std::vector<std::string>> labels;
  if (axis.categories.empty())
    for (const std::string& label : ticks.labels)
      labels.push_back({label});
  for (const std::string& name : axis.categories)
    labels.push_back(in_two_lines(name, kNumberSize, kWidestCategory));
  return labels;
}

double widest_category(const Axis& axis) {
  double widest = 0;
  for (const std::string& label : category_ticks(axis).labels)
    widest = std::max(widest, text_width(label, kNumberSize));
  return widest;
}

/// Returns true if the names of the x axis do not fit side by side.
bool turns_labels(const Axis& axis, double width) {
  return !axis.categories.empty() &&
         widest_category(axis) + 8 > width / (static_cast<double>(axis.categories.size()) + 0.2);
}

}  // namespace

std::string svg_text(SvgTarget target, Part ink, const TextPlace& place, std::string_view text) {
  return fmt::format(
      "<text x=\"{}\" y=\"{}\"{}{}{}{}>{}</text>\n", coordinate(place.x), coordinate(place.y),
      part_ink(target, ink),
      place.anchor == "start" ? std::string() : fmt::format(" text-anchor=\"{}\"", place.anchor),
      place.size == kNumberSize ? std::string() : fmt::format(" font-size=\"{}\"", place.size),
      place.more, escape_markup(text));
}

std::string svg_head(SvgTarget target, double height, const std::string& title) {
  const std::string box = fmt::format("viewBox=\"0 0 {} {}\"", kSvgWidth, coordinate(height));
  const std::string font = fmt::format("font-family=\"{}\" font-size=\"{}\"", kFont, kNumberSize);
  if (target == SvgTarget::page)
    return fmt::format("<svg {} {} role=\"img\" aria-label=\"{}\">\n", box, font,
                       escape_markup(title));
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" {} width=\"{}\" height=\"{}\" {} role=\"img\">\n"
      "<title>{}</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n",
      box, kSvgWidth, coordinate(height), font, escape_markup(title));
}

double extra_room_for_x_labels(const Axis& axis, double width) {
  return turns_labels(axis, width) ? widest_category(axis) * kTurnedRise : 0;
}

double height_of_y_categories(const Axis& axis) {
  double height = 0;
  for (const auto& lines : y_labels(axis, {}))
    height = std::max(height, kLine * static_cast<double>(lines.size()) + 9);
  return height;
}

double room_for_y_labels(const Axis& axis, const Scale& scale) {
  double widest = 0;
  for (const auto& lines : y_labels(axis, y_ticks(axis, scale)))
    for (const std::string& line : lines)
      widest = std::max(widest, text_width(line, kNumberSize));
  return widest + kTick + 8 + (axis.label.empty() ? 0 : 18);
}

std::string svg_axes(SvgTarget target, const PlotArea& area, const Axis& x_axis,
                     const Scale& x_scale, const Axis& y_axis, const Scale& y_scale, bool grid) {
  const auto c = coordinate;
  const Ticks xs =
      x_axis.categories.empty() ? fitting_x_ticks(x_scale, area.width()) : category_ticks(x_axis);
  const Ticks ys = y_ticks(y_axis, y_scale);
  const bool turned_xs = turns_labels(x_axis, area.width());
  const double below_xs = extra_room_for_x_labels(x_axis, area.width());
  const std::vector<std::vector<std::string>> y_texts = y_labels(y_axis, ys);
  std::string lines, grid_lines, text;
  for (size_t i = 0; i < ys.values.size(); ++i) {
    const double y = y_scale(ys.values[i]);
    grid_lines += fmt::format("M{} {}H{}", c(area.left), c(y), c(area.right));
    lines += fmt::format("M{} {}h-{}", c(area.left), c(y), kTick);
    double baseline = y + 4.2 - kLine * (static_cast<double>(y_texts[i].size()) - 1) / 2;
    for (const std::string& line : y_texts[i]) {
      text += svg_text(target, Part::number, {area.left - kTick - 4, baseline, "end"}, line);
      baseline += kLine;
    }
  }
  for (const double value : ys.minor)
    lines += fmt::format("M{} {}h-{}", c(area.left), c(y_scale(value)), kMinorTick);
  for (size_t i = 0; i < xs.values.size(); ++i) {
    const double x = x_scale(xs.values[i]);
    grid_lines += fmt::format("M{} {}V{}", c(x), c(area.top), c(area.bottom));
    lines += fmt::format("M{} {}v{}", c(x), c(area.bottom), kTick);
    const double y = area.bottom + kTick + 13;
    const std::string turn =
        turned_xs ? fmt::format(" transform=\"rotate(-{} {} {})\"", kTurnedDegrees, c(x), c(y))
                  : "";
    text += svg_text(target, Part::number, {x, y, turned_xs ? "end" : "middle", kNumberSize, turn},
                     xs.labels[i]);
  }
  for (const double value : xs.minor)
    lines += fmt::format("M{} {}v{}", c(x_scale(value)), c(area.bottom), kMinorTick);
  lines +=
      fmt::format("M{0} {1}V{2}H{3}", c(area.left), c(area.top), c(area.bottom), c(area.right));
  if (!x_axis.label.empty())
    text += svg_text(
        target, Part::text,
        {(area.left + area.right) / 2, area.bottom + kTick + 33 + below_xs, "middle", kLabelSize},
        x_axis.label);
  if (!y_axis.label.empty()) {
    const double x = 12.5, y = (area.top + area.bottom) / 2;
    const std::string turned = fmt::format(" transform=\"rotate(-90 {} {})\"", c(x), c(y));
    text += svg_text(target, Part::text, {x, y, "middle", kLabelSize, turned},
                     fitted(y_axis.label, kLabelSize, area.height() + 30));
  }
  std::string svg;
  if (grid)
    svg += fmt::format("<path d=\"{}\"{} stroke-width=\".8\"/>\n", grid_lines,
                       part_ink(target, Part::grid));
  return svg + fmt::format("<path d=\"{}\"{}/>\n", lines, part_ink(target, Part::axis)) + text;
}

}  // namespace sculpt
