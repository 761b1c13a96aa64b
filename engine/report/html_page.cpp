#include "engine/report/html_page.h"

#include <algorithm>
#include <fmt/format.h>

#include "engine/report/csv.h"
#include "engine/report/html_parts.h"
#include "engine/report/markup.h"
#include "engine/report/svg.h"

namespace sculpt {
namespace {

/// The amount of numbers that a page holds.
struct Limits {
  size_t number_rows;  ///< rows of the numbers under a figure
  size_t table_rows;
};
// From the fullest page to the barest.
constexpr Limits kLimits[] = {{5000, 400}, {400, 400}, {120, 200}, {0, 100}, {0, 25}};

std::string plural(size_t count, const char* noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

class Page {
 public:
  Page(const PageOptions& options, Limits limits) : options_(options), limits_(limits) {}

  std::string of(const Report& report) const {
    std::string text = page_head(report.title, options_.reload_seconds);
    text += header(report);
    for (const Section& section : report.sections)
      text += this->section(section);
    text +=
        fmt::format("</main>\n<footer>{}</footer>\n</body>\n</html>\n", escape_markup(report.foot));
    return text;
  }

 private:
  std::string header(const Report& report) const {
    static constexpr const char* kStates[] = {"finished", "running", "stopped", "failed"};
    std::string text = fmt::format(
        "<header>\n<p class=\"kind\">{} <span class=\"state {}\">{}</span></p>\n<h1>{}</h1>\n",
        escape_markup(report.kind), kStates[static_cast<size_t>(report.state)],
        escape_markup(report.state_text), with_breaks(escape_markup(report.title)));
    if (!report.sentence.empty())
      text += fmt::format("<p class=\"lead\">{}</p>\n", escape_markup(report.sentence));
    text += "</header>\n<main>\n";
    if (!report.warnings.empty()) {
      text += "<section class=\"warnings\" aria-label=\"warnings\">\n<ul>\n";
      for (const std::string& warning : report.warnings)
        text += fmt::format("<li>{}</li>\n", escape_markup(warning));
      text += "</ul>\n</section>\n";
    }
    if (report.facts.empty()) return text;
    text += "<dl class=\"facts\">\n";
    for (const Fact& fact : report.facts) {
      text += fmt::format("<div><dt>{}</dt><dd>{}</dd>", escape_markup(fact.label),
                          escape_markup(fact.value));
      if (!fact.note.empty())
        text += fmt::format("<dd class=\"note\">{}</dd>", escape_markup(fact.note));
      text += "</div>\n";
    }
    return text + "</dl>\n";
  }

  std::string section(const Section& section) const {
    std::string body;
    for (const std::string& paragraph : section.paragraphs)
      body += fmt::format("<p>{}</p>\n", escape_markup(paragraph));
    std::string drawings;
    for (const Figure& figure : section.figures)
      drawings += this->drawing(figure, figure_svg(figure, SvgTarget::page));
    for (const HeatMap& map : section.heat_maps)
      drawings += this->drawing(map, heat_map_svg(map, SvgTarget::page));
    if (!drawings.empty()) body += fmt::format("<div class=\"figures\">\n{}</div>\n", drawings);
    for (const Table& table : section.tables)
      body += this->table(table);
    for (const ShownCommand& command : section.commands)
      body += fmt::format("<p class=\"purpose\">{}:</p>\n<pre><code>{}</code></pre>\n",
                          escape_markup(command.purpose), escape_markup(command.command));
    const std::string heading = escape_markup(section.heading);
    if (section.closed)
      return fmt::format(
          "<section><details class=\"section\"><summary><h2>{}</h2></summary>\n{}</details>"
          "</section>\n",
          heading, body);
    return fmt::format("<section>\n<h2>{}</h2>\n{}</section>\n", heading, body);
  }

  /// Returns a link to the CSV file of a figure or table; "" without a data folder.
  std::string link(const std::string& name) const {
    if (options_.data_folder.empty()) return "";
    return fmt::format("<a href=\"{0}/{1}.csv\">{1}.csv</a>", url_of(options_.data_folder), name);
  }

  template <class Shown>
  std::string drawing(const Shown& shown, const std::string& svg) const {
    std::string text = fmt::format("<figure id=\"{}\">\n<h3>{}</h3>\n{}", shown.name,
                                   escape_markup(shown.title), svg);
    if (!shown.caption.empty())
      text += fmt::format("<figcaption>{}</figcaption>\n", escape_markup(shown.caption));
    return text + numbers(shown.name, csv_of(shown)) + "</figure>\n";
  }

  /// Returns the numbers of a figure, closed at first, or the link alone if there are many.
  std::string numbers(const std::string& name, const std::string& csv) const {
    const auto rows = static_cast<size_t>(std::ranges::count(csv, '\n')) - 1;
    const std::string file = link(name);
    if (rows == 0 || rows > limits_.number_rows)
      return file.empty() ? "" : fmt::format("<p class=\"data\">Numbers: {}</p>\n", file);
    return fmt::format(
        "<details class=\"data\"><summary>Numbers ({})</summary>\n<pre>{}</pre>{}</details>\n",
        plural(rows, "row"), escape_markup(csv),
        file.empty() ? "" : fmt::format("<p>{}</p>", file));
  }

  std::string table(const Table& table) const {
    const size_t shown = std::min(table.rows.size(), limits_.table_rows);
    std::string text = fmt::format("<div class=\"table\" id=\"{}\">\n", table.name);
    if (!table.title.empty()) text += fmt::format("<h3>{}</h3>\n", escape_markup(table.title));
    text +=
        fmt::format("<div class=\"scroll\" tabindex=\"0\">\n{}</div>\n", html_table(table, shown));
    std::string below = escape_markup(table.caption);
    if (shown < table.rows.size())
      below += fmt::format(" The first {} of {} rows are shown.", shown, table.rows.size());
    const std::string file = link(table.name);
    if (!file.empty()) below += (below.empty() ? "" : " ") + file;
    if (!below.empty()) text += fmt::format("<p class=\"caption\">{}</p>\n", below);
    return text + "</div>\n";
  }

  const PageOptions& options_;
  const Limits limits_;
};

}  // namespace

std::string html_page(const Report& report, const PageOptions& options) {
  std::string page;
  for (const Limits& limits : kLimits) {
    page = Page(options, limits).of(report);
    if (page.size() <= kMostPageBytes) break;
  }
  return page;
}

}  // namespace sculpt
