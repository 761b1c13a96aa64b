#include "engine/report/latex.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <map>

#include "engine/report/ink.h"
#include "engine/report/latex_parts.h"
#include "engine/report/markup.h"
#include "engine/report/scale.h"

namespace sculpt {
namespace {

constexpr const char* kPackages = R"(\documentclass{article}
\usepackage[T1]{fontenc}
\usepackage[utf8]{inputenc}
\usepackage[margin=2.5cm]{geometry}
\usepackage{array}
\usepackage{flafter}
\usepackage{booktabs}
\usepackage{xcolor}
\usepackage{pgfplots}
\pgfplotsset{compat=1.16}
\setlength{\belowcaptionskip}{6pt}
\pgfplotsset{sculpt/.style={
  width=\columnwidth, height=0.68\columnwidth, unbounded coords=jump,
  grid=major, grid style={black!10}, axis lines*=left, tick align=outside, enlargelimits=0.05,
  every axis plot/.append style={thick},
  legend columns=2, legend cell align=left,
  legend style={draw=none, font=\small, at={(0.5,-0.24)}, anchor=north},
  label style={font=\small}, tick label style={font=\small}}}
)";

constexpr std::array<std::string_view, 8> kMarkers = {
    "*",           "square*", "triangle*", "diamond*", "triangle*,mark options={solid,rotate=180}",
    "halfcircle*", "x",       "+"};
constexpr std::array<std::string_view, 6> kDashes = {
    "solid", "dashed", "densely dotted", "dashdotted", "densely dashed", "dashdotdotted"};
// TeX has little memory. Lines keep at most this many points here; the CSV files have all.
constexpr size_t kMostPoints = 300;
// A name of a y axis with more letters needs more room, and may take several lines.
constexpr size_t kMostLetters = 10;

std::string colours() {
  std::string text;
  for (size_t i = 0; i < kSeriesColours.size(); ++i) {
    std::string digits(kSeriesColours[i].light.substr(1));
    std::ranges::transform(digits, digits.begin(), [](unsigned char c) { return std::toupper(c); });
    text += fmt::format("\\definecolor{{sculpt{}}}{{HTML}}{{{}}}\n", i, digits);
  }
  return text;
}

std::string number(double value) {
  return std::isfinite(value) ? fmt::format("{:.6g}", value) : "nan";
}

/// Returns the options of a logarithmic axis. Its ticks stand at round numbers; pgfplots would set
/// them at powers of ten to fractions.
std::string log_options(const char* letter, const Figure& figure, const Axis& axis,
                        std::vector<double> Series::*values) {
  Range range;
  for (const Series& series : figure.series)
    for (const double value : series.*values)
      if (value > 0) range.add(value);
  const Scale scale(axis, range, 0.03, 0, 1);
  std::string text = fmt::format(", {}mode=log", letter);
  if (range.empty || range.low < 1e-3 || range.high > 1e5) return text;
  std::string ticks;
  for (const double value : scale.ticks(6).values)
    ticks += fmt::format("{}{:.6g}", ticks.empty() ? "" : ",", value);
  return text + fmt::format(", {0}tick={{{1}}}, {0}ticklabels={{{1}}}", letter, ticks);
}

size_t longest_of(const std::vector<std::string>& texts) {
  size_t longest = 0;
  for (const std::string& text : texts)
    longest = std::max(longest, letters_of(text));
  return longest;
}

std::string axis_options(const Figure& figure) {
  const auto of = [&](const char* letter, const Axis& axis) {
    std::string text = fmt::format("  {}label={{{}}}", letter, escape_latex(axis.label));
    if (axis.log)
      text += log_options(letter, figure, axis, letter[0] == 'x' ? &Series::x : &Series::y);
    const bool names_on_y = letter[0] == 'y' && !axis.categories.empty();
    if (axis.reversed || names_on_y) text += fmt::format(", {} dir=reverse", letter);
    if (axis.categories.empty()) return text;
    std::string places, names;
    for (size_t i = 0; i < axis.categories.size(); ++i) {
      places += (i > 0 ? "," : "") + std::to_string(i + 1);
      names += fmt::format("{}{{{}}}", i > 0 ? "," : "", escape_latex(axis.categories[i]));
    }
    return text +
           fmt::format(", {0}tick={{{1}}}, {0}ticklabels={{{2}}}, {0}min=0.4, {0}max={3}.6", letter,
                       places, names, axis.categories.size()) +
           (letter[0] == 'x' ? ", x tick label style={rotate=35, anchor=east}"
            : longest_of(axis.categories) > kMostLetters
                ? ",\n  width=0.75\\columnwidth, yticklabel style={align=right, text "
                  "width=0.3\\columnwidth}"
                : "");
  };
  return of("x", figure.x) + ",\n" + of("y", figure.y);
}

std::string plot_options(const Series& series, size_t style, bool level) {
  const size_t colour = style % kSeriesColours.size();
  std::string text = fmt::format("sculpt{}", colour);
  const bool marks = series.mark == Mark::points ||
                     (series.mark == Mark::line_and_points && series.x.size() <= 40);
  text += series.mark == Mark::points ? ", only marks"
                                      : fmt::format(", {}", kDashes[style % kDashes.size()]);
  text += marks ? fmt::format(", mark={}", kMarkers[marker_of(style)]) : ", no marks";
  if (series.mark == Mark::steps) text += ", const plot";
  if (series.pale) text += ", opacity=0.3, mark size=1pt, line width=0.4pt";
  if (!series.spread.empty() && series.mark != Mark::line)
    text += fmt::format(", error bars/.cd, {0} dir=both, {0} explicit", level ? "x" : "y");
  if (series.name.empty()) text = "forget plot, " + text;
  return text;
}

/// Returns the indices of the points that are drawn.
std::vector<size_t> drawn_points(const Series& series) {
  std::vector<size_t> drawn;
  const size_t stride = (series.x.size() + kMostPoints - 1) / kMostPoints;
  for (size_t i = 0; i < series.x.size(); ++i)
    if (stride < 2 || i % stride == 0 || i + 1 == series.x.size()) drawn.push_back(i);
  return drawn;
}

/// Returns the band around a line that has spreads: its upper edge, and its lower edge backwards.
std::string band_of(const Series& series, size_t style) {
  if (series.spread.empty() || series.mark != Mark::line) return "";
  std::string upper, lower;
  for (const size_t i : drawn_points(series)) {
    const double spread = std::isfinite(series.spread[i]) ? series.spread[i] : 0;
    if (!std::isfinite(series.x[i]) || !std::isfinite(series.y[i])) continue;
    upper += fmt::format("  ({},{})\n", number(series.x[i]), number(series.y[i] + spread));
    lower = fmt::format("  ({},{})\n", number(series.x[i]), number(series.y[i] - spread)) + lower;
  }
  if (upper.empty()) return "";
  return fmt::format(
      "\\addplot[forget plot, draw=none, fill=sculpt{}, fill opacity=0.17] coordinates {{\n{}{}}} "
      "-- cycle;\n",
      style % kSeriesColours.size(), upper, lower);
}

std::string plot_of(const Series& series, size_t style, bool level) {
  std::string text = band_of(series, style) + fmt::format("\\addplot[{}] coordinates {{\n",
                                                          plot_options(series, style, level));
  for (const size_t i : drawn_points(series)) {
    text += fmt::format("  ({},{})", number(series.x[i]), number(series.y[i]));
    if (!series.spread.empty() && series.mark != Mark::line) {
      const std::string spread = number(std::isfinite(series.spread[i]) ? series.spread[i] : 0);
      text += level ? fmt::format(" +- ({},0)", spread) : fmt::format(" +- (0,{})", spread);
    }
    text += "\n";
  }
  text += "};\n";
  if (!series.name.empty())
    text += fmt::format("\\addlegendentry{{{}}}\n", escape_latex(series.name));
  return text;
}

}  // namespace

std::string latex_of(const Figure& figure) {
  std::string text = fmt::format(
      "\\begin{{figure}}[!htbp]\n\\centering\n\\begin{{tikzpicture}}\n\\begin{{axis}}[sculpt,\n{}]"
      "\n",
      axis_options(figure));
  std::map<int64_t, size_t> of_group;
  size_t next = 0;
  for (const Series& series : figure.series) {
    size_t style = next;
    if (series.group >= 0) style = of_group.try_emplace(series.group, next).first->second;
    if (style == next) ++next;
    text += plot_of(series, style, !figure.y.categories.empty());
  }
  for (const Boundary& boundary : figure.boundaries)
    if (std::isfinite(boundary.x))
      text += fmt::format(
          "\\draw[black!40, dashed] ({{axis cs:{0},0}}|-{{rel axis cs:0,0}}) -- "
          "({{axis cs:{0},0}}|-{{rel axis cs:0,1}});\n",
          number(boundary.x));
  return text + "\\end{axis}\n\\end{tikzpicture}\n" +
         latex_caption(figure.title, figure.caption, "fig:" + figure.name) + "\\end{figure}\n";
}

std::string latex_of(const HeatMap& map) {
  std::string text = fmt::format(
      "\\begin{{figure}}[!htbp]\n\\centering\n\\begin{{tikzpicture}}\n\\begin{{axis}}[\n"
      "  width=0.8\\columnwidth, height=0.8\\columnwidth, enlargelimits=false, axis on top,\n"
      "  xlabel={{{}}}, ylabel={{{}}}, colorbar, colormap name=viridis,\n"
      "  colorbar style={{ylabel={{{}{}}}}}]\n"
      "\\addplot[matrix plot*, point meta=explicit, mesh/cols={}] table[meta=z] {{\nx y z\n",
      escape_latex(map.x.label), escape_latex(map.y.label), map.log ? "log10 of " : "",
      escape_latex(map.value_label), map.xs.size());
  for (size_t y = 0; y < map.ys.size(); ++y)
    for (size_t x = 0; x < map.xs.size(); ++x) {
      const double value = map.values[y * map.xs.size() + x];
      text += fmt::format("{} {} {}\n", number(map.xs[x]), number(map.ys[y]),
                          number(map.log ? std::log10(value) : value));
    }
  return text + "};\n\\end{axis}\n\\end{tikzpicture}\n" +
         latex_caption(map.title, map.caption, "fig:" + map.name) + "\\end{figure}\n";
}

std::string latex_document(const Report& report) {
  std::string text = kPackages + colours() + "\\begin{document}\n";
  for (const Section& section : report.sections) {
    if (section.closed) continue;  // long tables, which are there to be looked up
    text += fmt::format("\n\\section*{{{}}}\n", escape_latex(section.heading));
    for (const Figure& figure : section.figures)
      text += "\n" + latex_of(figure);
    for (const HeatMap& map : section.heat_maps)
      text += "\n" + latex_of(map);
    for (const Table& table : section.tables)
      if (!table.rows.empty()) text += "\n" + latex_of(table);
    text += "\\clearpage\n";
  }
  return text + "\n\\end{document}\n";
}

}  // namespace sculpt
