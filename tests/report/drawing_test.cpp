// Ticks, scales, thinning and drawings.
#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <random>

#include "engine/report/ink.h"
#include "engine/report/latex.h"
#include "engine/report/markup.h"
#include "engine/report/scale.h"
#include "engine/report/svg.h"
#include "engine/report/thinning.h"
#include "engine/report/ticks.h"
#include "tests/support/messages.h"

using namespace sculpt;
using sculpt::testing::contains;

namespace {

size_t count_of(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1))
    ++count;
  return count;
}

Figure figure_of(std::vector<Series> series) {
  Figure figure;
  figure.name = "test";
  figure.title = "A <title> & more";
  figure.x.label = "epoch";
  figure.y.label = "accuracy (%)";
  figure.series = std::move(series);
  return figure;
}

Series series_of(std::string name, std::vector<double> x, std::vector<double> y, Mark mark) {
  Series series;
  series.name = std::move(name);
  series.mark = mark;
  series.x = std::move(x);
  series.y = std::move(y);
  return series;
}

}  // namespace

TEST_CASE("ticks: linear ticks are round, inside the range, and neither few nor many") {
  std::mt19937 random(1);
  std::uniform_real_distribution<double> exponent(-8, 8), place(-3, 3);
  for (int i = 0; i < 2000; ++i) {
    const double width = std::pow(10, exponent(random)), low = place(random) * width;
    const double high = low + width;
    const size_t wanted = 2 + static_cast<size_t>(i % 7);
    const Ticks ticks = linear_ticks(low, high, wanted);
    REQUIRE(ticks.values.size() == ticks.labels.size());
    CHECK(ticks.values.size() >= wanted / 3);
    CHECK(ticks.values.size() <= wanted + 3);
    for (size_t k = 0; k < ticks.values.size(); ++k) {
      CHECK(ticks.values[k] >= low - 1e-6 * width);
      CHECK(ticks.values[k] <= high + 1e-6 * width);
      if (k == 0) continue;
      const double step = ticks.values[k] - ticks.values[k - 1];
      const double digit = step / std::pow(10, std::floor(std::log10(step) + 1e-6));
      const bool round =
          std::abs(digit - 1) < 1e-3 || std::abs(digit - 2) < 1e-3 || std::abs(digit - 5) < 1e-3;
      CHECK_MESSAGE(round, "a step of ", step);
      CHECK(ticks.labels[k] != ticks.labels[k - 1]);
    }
  }
}

TEST_CASE("ticks: known axes") {
  CHECK(linear_ticks(0, 1, 5).labels ==
        std::vector<std::string>{"0", "0.2", "0.4", "0.6", "0.8", "1.0"});
  CHECK(linear_ticks(-20, 20, 4).labels ==
        std::vector<std::string>{"\u221220", "\u221210", "0", "10", "20"});
  CHECK(log_ticks(1.9, 101, 7).labels ==
        std::vector<std::string>{"2", "5", "10", "20", "50", "100"});
  CHECK(log_ticks(19, 66, 7).labels == std::vector<std::string>{"20", "30", "40", "50", "60"});
  CHECK(log_ticks(1e-6, 1e-2, 5).labels ==
        std::vector<std::string>{"10\u207b\u2076", "10\u207b\u2075", "10\u207b\u2074",
                                 "10\u207b\u00b3", "10\u207b\u00b2"});
  // Less than two round numbers of a logarithmic axis: linear ticks.
  CHECK(log_ticks(71, 79, 5).labels == std::vector<std::string>{"72", "74", "76", "78"});
}

TEST_CASE("ticks: logarithmic ticks lie inside the range and ascend") {
  std::mt19937 random(2);
  std::uniform_real_distribution<double> exponent(-9, 9), width(0.1, 9);
  for (int i = 0; i < 1000; ++i) {
    const double low = std::pow(10, exponent(random)), high = low * std::pow(10, width(random));
    const size_t wanted = 2 + static_cast<size_t>(i % 7);
    const Ticks ticks = log_ticks(low, high, wanted);
    CHECK(ticks.values.size() <= wanted + 3);
    CHECK(std::ranges::is_sorted(ticks.values));
    for (const double value : ticks.values) {
      CHECK(value >= low * (1 - 1e-6));
      CHECK(value <= high * (1 + 1e-6));
    }
  }
}

TEST_CASE("ticks: numbers as texts") {
  CHECK(number_text(0) == "0");
  CHECK(number_text(0.1 + 0.2) == "0.3");
  CHECK(number_text(61.642) == "61.64");
  CHECK(number_text(67992) == "67992");
  CHECK(number_text(-0.5) == "\u22120.5");
  CHECK(number_text(1.25e-7) == "1.25e-07");
  CHECK(number_text(NAN).empty());
  CHECK(fixed_text(-1.005, 1) == "\u22121.0");
  CHECK(fixed_text(INFINITY, 2).empty());
  CHECK(grouped_text(67992) == "67,992");
  CHECK(grouped_text(-1234567) == "-1,234,567");
  CHECK(grouped_text(999) == "999");
  CHECK(seconds_text(59.94) == "59.9s");
  CHECK(seconds_text(3600) == "1h00m");
  CHECK(seconds_text(NAN).empty());
}

TEST_CASE("scale: ends and middles of linear, logarithmic and reversed axes") {
  Range range;
  for (const double value : std::vector<double>{10, NAN, 1000, INFINITY})
    range.add(value);
  const Scale linear({}, range, 0, 100, 200);
  CHECK(linear(10) == doctest::Approx(100));
  CHECK(linear(505) == doctest::Approx(150));
  CHECK(linear(1000) == doctest::Approx(200));
  const Scale log({"", true}, range, 0, 100, 200);
  CHECK(log(100) == doctest::Approx(150));
  const Scale reversed({"", true, true}, range, 0, 100, 200);
  CHECK(reversed(10) == doctest::Approx(200));
  CHECK(reversed(1000) == doctest::Approx(100));
  const Scale wide({}, range, 0.1, 0, 1);
  CHECK(wide.low() == doctest::Approx(10 - 99));
  CHECK(wide.high() == doctest::Approx(1000 + 99));
}

TEST_CASE("scale: empty, constant and negative ranges have a finite place for every value") {
  Range constant;
  constant.add(5);
  const Scale middle({}, constant, 0.05, 0, 100);
  CHECK(middle(5) == doctest::Approx(50));
  const Scale empty({}, Range{}, 0.05, 0, 100);
  CHECK(std::isfinite(empty(0.5)));
  CHECK(empty.ticks(5).values.size() > 2);
  Range negative;
  negative.add(-3);
  negative.add(4);
  const Scale log({"", true}, negative, 0.05, 0, 100);
  CHECK(std::isfinite(log(2)));
}

TEST_CASE("thinning: keeps ends, peaks and order, and is short") {
  std::mt19937 random(3);
  std::normal_distribution<double> noise;
  std::vector<Point> line(20000);
  for (size_t i = 0; i < line.size(); ++i)
    line[i] = {static_cast<double>(i) / 50, noise(random)};
  line[7777].y = 1000;
  line[12345].y = -1000;
  const std::vector<Point> thin = thinned(line, 100);
  CHECK(thin.size() <= 400);
  CHECK(thin.front().x == line.front().x);
  CHECK(thin.back().x == line.back().x);
  const auto y_of = [](const Point& p) { return p.y; };
  CHECK(std::ranges::max(thin, {}, y_of).y == 1000);
  CHECK(std::ranges::min(thin, {}, y_of).y == -1000);
  CHECK(std::ranges::is_sorted(thin, {}, [](const Point& p) { return p.x; }));
  const std::vector<Point> few(line.begin(), line.begin() + 300);
  CHECK(thinned(few, 100).size() == 300);
  const std::vector<Point> same = {{1, 1}, {1, 2}, {1, 3}, {1, 4}, {1, 5}, {1, 6}};
  CHECK(thinned(same, 1).size() == 2);
  const std::vector<Point> chosen = sampled(line, 17);
  CHECK(chosen.size() == 17);
  CHECK(chosen.back().x == line.back().x);
}

TEST_CASE("drawing: a path ends where the last point is, within rounding") {
  std::mt19937 random(4);
  std::uniform_real_distribution<double> place(0, 400);
  for (const bool steps : {false, true}) {
    std::vector<Point> line(500);
    for (Point& point : line)
      point = {place(random), place(random)};
    const std::string path = path_of(line, steps);
    // A plain reader of the commands M, l, h and v adds up where the path ends.
    double x = 0, y = 0;
    const char* at = path.c_str();
    while (*at != '\0') {
      const char command = *at++;
      char* end = nullptr;
      const double first = std::strtod(at, &end);
      at = end;
      if (command == 'M' || command == 'l') {
        const double second = std::strtod(at, &end);
        at = end;
        x = (command == 'M' ? 0 : x) + first;
        y = (command == 'M' ? 0 : y) + second;
      } else if (command == 'h') {
        x += first;
      } else {
        REQUIRE(command == 'v');
        y += first;
      }
    }
    CHECK(std::abs(x - line.back().x) <= 0.051);
    CHECK(std::abs(y - line.back().y) <= 0.051);
  }
  CHECK(path_of({{3, 4}}, false) == "M3 4h0");
}

TEST_CASE("drawing: coordinates have at most one decimal") {
  CHECK(coordinate(0) == "0");
  CHECK(coordinate(-0.04) == "0");
  CHECK(coordinate(12.345) == "12.3");
  CHECK(coordinate(-0.5) == "-.5");
  CHECK(coordinate(7.96) == "8");
}

TEST_CASE("drawing: gaps interrupt a line, and error bars stand where there is a spread") {
  const Figure gap = figure_of({series_of("a", {1, 2, 3, 4, 5}, {1, 2, NAN, 4, 5}, Mark::line)});
  const std::string svg = figure_svg(gap, SvgTarget::file);
  const size_t path = svg.rfind("<path d=\"M", svg.find("stroke-width=\"1.9\""));
  CHECK(count_of(svg.substr(path, svg.find('"', path + 9) - path), "M") == 2);
  Figure bars = figure_of({series_of("a", {1, 2, 3}, {1, 2, 3}, Mark::points)});
  bars.series[0].spread = {0.5, 0, NAN};
  const std::string with_bars = figure_svg(bars, SvgTarget::file);
  CHECK(count_of(with_bars, "stroke-width=\"1.2\"") == 1);
  bars.series[0].spread = {};
  CHECK(count_of(figure_svg(bars, SvgTarget::file), "stroke-width=\"1.2\"") == 0);
}

TEST_CASE("drawing: names are escaped, and a file has no style of the page") {
  Figure figure = figure_of({series_of("<b>\"x\" & 'y'", {1, 2}, {1, 2}, Mark::points)});
  figure.series[0].labels = {"<script>", "ok\x01\xff"};
  figure.boundaries = {{1.5, "a<b"}};
  for (const SvgTarget target : {SvgTarget::page, SvgTarget::file}) {
    const std::string svg = figure_svg(figure, target);
    CHECK_FALSE(contains(svg, "<script>"));
    CHECK_FALSE(contains(svg, "<b>"));
    CHECK(contains(svg, "&lt;b&gt;&quot;x&quot; &amp; &#39;y&#39;"));
    CHECK(contains(svg, "a&lt;b"));
    CHECK(contains(svg, "ok\uFFFD\uFFFD"));
    CHECK(contains(svg, "class=") == (target == SvgTarget::page));
  }
}

TEST_CASE("drawing: series of one group share colour, and neighbours differ in more than colour") {
  std::vector<Series> series;
  for (int i = 0; i < 4; ++i) {
    series.push_back(series_of("s" + std::to_string(i / 2), {1, 2}, {1.0 * i, 2}, Mark::line));
    series.back().group = i / 2;
  }
  const std::string svg = figure_svg(figure_of(series), SvgTarget::file);
  // Each series is drawn once, and once more in the legend.
  CHECK(count_of(svg, std::string(kSeriesColours[0].light)) == 4);
  CHECK(count_of(svg, std::string(kSeriesColours[1].light)) == 4);
  CHECK(count_of(svg, std::string(kSeriesColours[2].light)) == 0);
  for (size_t i = 0; i < 7; ++i) {
    CHECK(marker_path(i, 0, 0, 3) != marker_path(i + 1, 0, 0, 3));
    CHECK(dashes(i) != dashes(i + 1));
    // Series that share a colour, because there are more of them than colours.
    CHECK(series_fill(SvgTarget::file, i) == series_fill(SvgTarget::file, i + 8));
    CHECK(marker_path(i, 0, 0, 3) != marker_path(i + 8, 0, 0, 3));
    CHECK(dashes(i) != dashes(i + 8));
  }
}

TEST_CASE("drawing: names of an x axis stand at even spacing, with a mark and a bar each") {
  Series means = series_of("", {1, 2, 3}, {10, 20, 15}, Mark::points);
  means.spread = {1, 2, 3};
  Figure figure = figure_of({means});
  figure.x.categories = {"a<b", "b", "c"};
  const std::string svg = figure_svg(figure, SvgTarget::file);
  const auto place_of = [&](const std::string& name) {
    const size_t text = svg.find(">" + name + "</text>");
    REQUIRE(text != std::string::npos);
    const size_t begin = svg.rfind("<text x=\"", text) + 9;
    return std::stod(svg.substr(begin));
  };
  const double a = place_of("a&lt;b"), b = place_of("b"), c = place_of("c");
  CHECK(a < b);
  CHECK(c - b == doctest::Approx(b - a).epsilon(0.01));
  CHECK_FALSE(contains(svg, "nan"));
  // Short names stand level; long ones that would touch are turned, and the drawing is higher.
  CHECK_FALSE(contains(svg, "rotate(-35"));
  for (std::string& name : figure.x.categories)
    name = "a method with a long name, " + name;
  const std::string turned = figure_svg(figure, SvgTarget::file);
  CHECK(count_of(turned, "rotate(-35") == 3);
  const auto height_of = [](const std::string& text) {
    return std::stod(text.substr(text.find(" height=\"") + 9));
  };
  CHECK(height_of(turned) > height_of(svg) + 40);
  CHECK(contains(latex_of(figure), "xticklabels={{a method"));
  CHECK_FALSE(contains(latex_of(figure), "dir=reverse"));
}

TEST_CASE("drawing: long names of a y axis take two lines and keep their ends") {
  CHECK(in_two_lines("short (2)", 12, 100) == std::vector<std::string>{"short (2)"});
  std::mt19937 random(5);
  for (int round = 0; round < 500; ++round) {
    std::string name;
    for (size_t words = 1 + random() % 9; words > 0; --words)
      name += (name.empty() ? "" : " ") + std::string(1 + random() % 30, 'a') + "\u00e9";
    name += " (12)";
    const std::vector<std::string> lines = in_two_lines(name, 12, 170);
    CAPTURE(name);
    REQUIRE(lines.size() <= 2);
    for (const std::string& line : lines)
      CHECK(text_width(line, 12) <= 170);
    CHECK(lines.back().ends_with("(12)"));
    // Nothing is lost where nothing is cut, and no character is cut in half.
    std::string joined = lines[0] + (lines.size() > 1 ? " " + lines[1] : "");
    if (!contains(joined, "\u2026")) CHECK(joined == name);
    for (size_t at = joined.find('\xa9'); at != std::string::npos; at = joined.find('\xa9', at + 1))
      CHECK(joined[at - 1] == '\xc3');
  }
  Series means = series_of("", {10, 20}, {1, 2}, Mark::points);
  Figure figure = figure_of({means});
  figure.y.categories = {"lrr (2)", "schedule step_warmup, criterion magnitude (2)"};
  const std::string svg = figure_svg(figure, SvgTarget::file);
  CHECK(contains(svg, ">schedule step_warmup,</text>"));
  CHECK(contains(svg, ">criterion magnitude (2)</text>"));
  CHECK(contains(svg, ">lrr (2)</text>"));
}

TEST_CASE("latex: bands of lines are bands, and marks have error bars") {
  Series line = series_of("a", {1, 2, 3}, {10, 20, 40}, Mark::line);
  line.spread = {1, 2, 4};
  const std::string band = latex_of(figure_of({line}));
  CHECK(contains(band, "  (1,11)\n  (2,22)\n  (3,44)\n  (3,36)\n  (2,18)\n  (1,9)\n} -- cycle;"));
  CHECK_FALSE(contains(band, "error bars"));
  line.mark = Mark::line_and_points;
  const std::string bars = latex_of(figure_of({line}));
  CHECK(contains(bars, "error bars/.cd"));
  CHECK(contains(bars, "(2,20) +- (0,2)"));
  CHECK_FALSE(contains(bars, "cycle"));
}

TEST_CASE("latex: long texts of tables are broken into lines, and short tables stay as they are") {
  Table table;
  table.name = "t";
  table.columns = {"id", "text"};
  table.rows = {{"C1", "a short text"}};
  CHECK(contains(latex_of(table), "\\small\n\\setlength{\\tabcolsep}{6pt}\n\\begin{tabular}{ll}"));
  table.rows.push_back({"C2", std::string(300, 'x')});
  const std::string broken = latex_of(table);
  CHECK(contains(broken, "{l>{\\raggedright\\arraybackslash}p{"));
  // Many columns have smaller letters.
  for (int i = 0; i < 6; ++i) {
    table.columns.push_back("column");
    for (auto& row : table.rows)
      row.push_back("61.64 \u00b1 0.31 %");
  }
  const std::string many = latex_of(table);
  CHECK(contains(many, "}p{"));
  CHECK_FALSE(contains(many, "\\tabcolsep}{6pt}"));
}

TEST_CASE("drawing: odd figures do not fail") {
  for (const SvgTarget target : {SvgTarget::page, SvgTarget::file}) {
    CHECK(contains(figure_svg(figure_of({}), target), "</svg>"));
    CHECK(contains(figure_svg(figure_of({series_of("", {}, {}, Mark::line)}), target), "</svg>"));
    Figure log = figure_of({series_of("a", {0, -1, 1}, {0, 1, NAN}, Mark::line_and_points)});
    log.x.log = log.y.log = true;
    log.series[0].spread = {1, 1, 1};
    const std::string svg = figure_svg(log, target);
    CHECK_FALSE(contains(svg, "nan"));
    CHECK_FALSE(contains(svg, "inf"));
    HeatMap empty;
    CHECK(contains(heat_map_svg(empty, target), "</svg>"));
  }
}

TEST_CASE("drawing: a heat map has a cell for every finite value") {
  HeatMap map;
  map.title = "surface";
  map.xs = {0, 1, 2};
  map.ys = {0, 1};
  map.values = {1, 2, 3, 4, NAN, 6};
  const std::string svg = heat_map_svg(map, SvgTarget::file);
  const size_t begin = svg.find("<g ");
  const std::string cells = svg.substr(begin, svg.find("</g>") - begin);
  CHECK(count_of(cells, "z") == 5);  // every cell is a closed path
  CHECK(contains(svg, "#440154"));   // the ends of viridis
  CHECK(contains(svg, "#fde725"));
}

TEST_CASE("markup: texts for HTML and LaTeX") {
  CHECK(escape_markup("a<b>&\"'\n") == "a&lt;b&gt;&amp;&quot;&#39;\n");
  CHECK(escape_markup("\xc3\xa4\x1b[0m") == "\xc3\xa4\uFFFD[0m");
  // A cut character, an overlong one, a surrogate, and U+FFFE, which XML forbids.
  CHECK(escape_markup("\xe2\x82") == "\uFFFD\uFFFD");
  CHECK(escape_markup("\xc0\xaf") == "\uFFFD\uFFFD");
  CHECK(escape_markup("\xed\xa0\x80") == "\uFFFD\uFFFD\uFFFD");
  CHECK(escape_markup("\xef\xbf\xbe") == "\uFFFD\uFFFD\uFFFD");
  CHECK(escape_latex("50 % of a_b & {x}") == "50 \\% of a\\_b \\& \\{x\\}");
  CHECK(escape_latex("\\input{x}") == "\\textbackslash{}input\\{x\\}");
  CHECK(escape_latex("1 \u00b1 2") == "1 \\ensuremath{\\pm} 2");
  CHECK(escape_latex("\u03bb\u2081 \u00e4 \u4e2d") ==
        "\\ensuremath{\\lambda}\\textsubscript{1} \u00e4 ?");
  CHECK(file_name_of("../Loss & Accuracy!") == "loss-accuracy");
  CHECK(file_name_of("\u00e4") == "figure");
}
