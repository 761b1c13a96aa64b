#include "engine/report/ink.h"

#include <cmath>
#include <fmt/format.h>

namespace sculpt {
namespace {

struct PartColours {
  Part part;
  std::string_view name, light, dark;
  bool is_line;
};
constexpr PartColours kParts[] = {
    {Part::axis, "ax", "#5f6670", "#8b939e", true},
    {Part::grid, "gr", "#e3e6ea", "#2e343c", true},
    {Part::bound, "bd", "#9aa1ab", "#69717c", true},
    {Part::text, "tx", "#23272e", "#e3e6ea", false},
    {Part::number, "nu", "#4b525c", "#aeb5bf", false},
    {Part::ground, "gd", "#ffffff", "#171b21", false},
};

const PartColours& row_of(Part part) {
  for (const PartColours& row : kParts)
    if (row.part == part) return row;
  return kParts[0];
}

size_t colour_of(size_t i) {
  return i % kSeriesColours.size();
}

}  // namespace

std::string series_stroke(SvgTarget target, size_t i) {
  if (target == SvgTarget::page) return fmt::format(" class=\"s{}\"", colour_of(i));
  return fmt::format(" stroke=\"{}\" fill=\"none\"", kSeriesColours[colour_of(i)].light);
}

std::string series_fill(SvgTarget target, size_t i) {
  if (target == SvgTarget::page) return fmt::format(" class=\"f{}\"", colour_of(i));
  return fmt::format(" fill=\"{}\"", kSeriesColours[colour_of(i)].light);
}

std::string part_ink(SvgTarget target, Part part) {
  const PartColours& row = row_of(part);
  if (target == SvgTarget::page) return fmt::format(" class=\"{}\"", row.name);
  return fmt::format(" {}=\"{}\"{}", row.is_line ? "stroke" : "fill", row.light,
                     row.is_line ? " fill=\"none\"" : "");
}

std::string ink_style_sheet() {
  std::string rules, light, dark;
  for (size_t i = 0; i < kSeriesColours.size(); ++i) {
    rules += fmt::format(".s{0}{{stroke:var(--c{0});fill:none}}.f{0}{{fill:var(--c{0})}}\n", i);
    light += fmt::format("--c{}:{};", i, kSeriesColours[i].light);
    dark += fmt::format("--c{}:{};", i, kSeriesColours[i].dark);
  }
  for (const PartColours& row : kParts) {
    rules += fmt::format(".{0}{{{1}:var(--{0}){2}}}\n", row.name, row.is_line ? "stroke" : "fill",
                         row.is_line ? ";fill:none" : "");
    light += fmt::format("--{}:{};", row.name, row.light);
    dark += fmt::format("--{}:{};", row.name, row.dark);
  }
  return fmt::format(
      ":root{{{}}}\n@media screen and (prefers-color-scheme:dark){{:root{{{}}}}}\n{}", light, dark,
      rules);
}

std::string dashes(size_t i) {
  static constexpr std::array<std::string_view, 6> kDashes = {"",        "7 3", "2 2.5",
                                                              "8 3 2 3", "4 2", "10 3 2 3 2 3"};
  const std::string_view pattern = kDashes[i % kDashes.size()];
  return pattern.empty() ? "" : fmt::format(" stroke-dasharray=\"{}\"", pattern);
}

namespace {

constexpr size_t kMarkers = 8;

}  // namespace

size_t marker_of(size_t i) {
  return (i + i / kSeriesColours.size()) % kMarkers;
}

bool marker_is_open(size_t i) {
  return marker_of(i) >= 6;
}

std::string marker_path(size_t i, double x, double y, double r) {
  const auto c = coordinate;
  const auto moved = [&](double dx, double dy) { return "M" + c(x + dx) + " " + c(y + dy); };
  switch (marker_of(i)) {
    case 0:  // circle
      return fmt::format("{}a{r} {r} 0 1 0 {d} 0a{r} {r} 0 1 0 -{d} 0z", moved(-r, 0),
                         fmt::arg("r", c(r)), fmt::arg("d", c(2 * r)));
    case 1:  // square
      return fmt::format("{}h{d}v{d}h-{d}z", moved(-.88 * r, -.88 * r), fmt::arg("d", c(1.76 * r)));
    case 2:  // triangle
      return fmt::format("{}l{} {}h-{}z", moved(0, -1.2 * r), c(1.1 * r), c(1.9 * r), c(2.2 * r));
    case 3:  // diamond
      return fmt::format("{}l{r} {r}l-{r} {r}l-{r} -{r}z", moved(0, -1.25 * r),
                         fmt::arg("r", c(1.25 * r)));
    case 4:  // triangle that points down
      return fmt::format("{}l{} -{}h-{}z", moved(0, 1.2 * r), c(1.1 * r), c(1.9 * r), c(2.2 * r));
    case 5:  // bar
      return fmt::format("{}h{}v{}h-{}z", moved(-.55 * r, -1.2 * r), c(1.1 * r), c(2.4 * r),
                         c(1.1 * r));
    case 6:  // cross
      return fmt::format("{}l{d} {d}m0 -{d}l-{d} {d}", moved(-.9 * r, -.9 * r),
                         fmt::arg("d", c(1.8 * r)));
    default:  // plus
      return fmt::format("{}h{d}m-{} -{}v{d}", moved(-1.1 * r, 0), c(1.1 * r), c(1.1 * r),
                         fmt::arg("d", c(2.2 * r)));
  }
}

double text_width(std::string_view text, double font_size) {
  double em = 0;
  for (const char letter : text) {
    const auto byte = static_cast<unsigned char>(letter);
    if ((byte & 0xC0) == 0x80) continue;  // the rest of a character of several bytes
    if (std::string_view("iljtf.,:;'|!()[]I ").find(letter) != std::string_view::npos)
      em += 0.35;
    else if (std::string_view("mwMW%@").find(letter) != std::string_view::npos)
      em += 0.95;
    else if (letter >= 'A' && letter <= 'Z')
      em += 0.72;
    else
      em += 0.62;
  }
  return em * font_size;
}

std::string fitted(std::string_view text, double font_size, double width) {
  if (text_width(text, font_size) <= width) return std::string(text);
  std::string cut(text);
  while (!cut.empty() && text_width(cut, font_size) + font_size > width) {
    while (!cut.empty() && (static_cast<unsigned char>(cut.back()) & 0xC0) == 0x80)
      cut.pop_back();
    if (!cut.empty()) cut.pop_back();
  }
  return cut + "\u2026";
}

namespace {

bool is_inside_character(char byte) {
  return (static_cast<unsigned char>(byte) & 0xC0) == 0x80;
}

/// Returns the text, cut and with "…" in its middle if it is wider than `width`.
std::string fitted_in_middle(std::string_view text, double font_size, double width) {
  if (text_width(text, font_size) <= width) return std::string(text);
  const double half = (width - font_size) / 2;
  std::string first = fitted(text, font_size, half + font_size);
  size_t at = 0;
  while (at < text.size() &&
         (is_inside_character(text[at]) || text_width(text.substr(at), font_size) > half))
    ++at;
  return first + std::string(text.substr(at));
}

}  // namespace

std::vector<std::string> in_two_lines(std::string_view text, double font_size, double width) {
  if (text_width(text, font_size) <= width) return {std::string(text)};
  // The first line takes as many words as it can.
  size_t end = std::string_view::npos;
  for (size_t at = text.find(' '); at != std::string_view::npos; at = text.find(' ', at + 1))
    if (end == std::string_view::npos || text_width(text.substr(0, at), font_size) <= width)
      end = at;
  if (end == std::string_view::npos) return {fitted_in_middle(text, font_size, width)};
  return {fitted(text.substr(0, end), font_size, width),
          fitted_in_middle(text.substr(end + 1), font_size, width)};
}

std::string coordinate(double value) {
  const auto tenths = static_cast<long long>(std::llround(value * 10));
  const long long size = std::abs(tenths);
  std::string text = tenths < 0 ? "-" : "";
  if (size / 10 != 0 || size == 0) text += std::to_string(size / 10);
  if (size % 10 != 0) text += "." + std::to_string(size % 10);
  return text;
}

}  // namespace sculpt
