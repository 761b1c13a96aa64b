#include <algorithm>
#include <fmt/format.h>
#include <stdexcept>

#include "engine/report/latex.h"
#include "engine/report/latex_parts.h"
#include "engine/report/markup.h"

namespace sculpt {
namespace {

/// A size of letters, with about how wide a letter is and the room on each side of a column, in
/// points.
struct TextSize {
  const char* command;
  double letter, separation;
};
constexpr TextSize kSizes[] = {
    {"\\small", 4.8, 6}, {"\\footnotesize", 4.3, 4}, {"\\scriptsize", 3.8, 3}};
// The width of the text of the document, in points.
constexpr double kTextWidth = 452;
// A column with more letters may be broken into lines.
constexpr size_t kMostLettersInLine = 24;
// The least width of a column of lines, in points.
constexpr double kLeastWidth = 70;

struct TableForm {
  const TextSize* size;
  std::string columns;  ///< what stands behind \begin{tabular}
};

/// Returns the width at which columns of texts are broken into lines, so that together they fill
/// the room. Shorter columns keep their widths.
double widest_text(std::vector<double> widths, double room) {
  std::ranges::sort(widths);
  for (size_t i = 0; i < widths.size(); ++i) {
    const double share = room / static_cast<double>(widths.size() - i);
    if (widths[i] > share) return share;
    room -= widths[i];
  }
  return kTextWidth;
}

/// Returns what stands behind \begin{tabular}.
std::string columns_of(const std::vector<size_t>& letters, const TextSize& size, double widest) {
  std::string columns;
  for (const size_t count : letters)
    columns += count > kMostLettersInLine && size.letter * static_cast<double>(count) > widest
                   ? fmt::format(">{{\\raggedright\\arraybackslash}}p{{{:.0f}pt}}", widest)
                   : "l";
  return columns;
}

/// Returns the largest letters with which the table fits the text, and its columns. Columns of long
/// texts share the room that the others leave.
TableForm form_of(const Table& table) {
  std::vector<size_t> letters;
  for (size_t i = 0; i < table.columns.size(); ++i) {
    letters.push_back(letters_of(table.columns[i]));
    for (const auto& cells : table.rows)
      letters.back() = std::max(letters.back(), letters_of(cells[i]));
  }
  for (const TextSize& size : kSizes) {
    double room = kTextWidth - 2 * size.separation * static_cast<double>(letters.size());
    std::vector<double> texts;
    for (const size_t count : letters) {
      const double width = size.letter * static_cast<double>(count);
      if (count > kMostLettersInLine)
        texts.push_back(width);
      else
        room -= width;
    }
    const double least = kLeastWidth * static_cast<double>(texts.size());
    const bool is_last = &size == &kSizes[std::size(kSizes) - 1];
    if (!is_last && (texts.empty() ? room < 0 : room < least)) continue;
    return {&size, columns_of(letters, size, widest_text(texts, std::max(room, least)))};
  }
  throw std::logic_error("no size of letters");  // the last size is always taken
}

}  // namespace

size_t letters_of(const std::string& text) {
  return static_cast<size_t>(std::ranges::count_if(text, [](char byte) {
    return (static_cast<unsigned char>(byte) & 0xC0) != 0x80;  // not inside a character
  }));
}

std::string latex_caption(const std::string& title, const std::string& caption,
                          const std::string& label) {
  return fmt::format("\\caption{{{}.{}{}}}\n\\label{{{}}}\n", escape_latex(title),
                     caption.empty() ? "" : " ", escape_latex(caption), label);
}

std::string latex_of(const Table& table) {
  const auto row = [](const std::vector<std::string>& cells) {
    std::string text;
    for (size_t i = 0; i < cells.size(); ++i)
      text += (i > 0 ? " & " : "") + escape_latex(cells[i]);
    return text + " \\\\\n";
  };
  const TableForm form = form_of(table);
  std::string text = fmt::format(
      "\\begin{{table}}[!htbp]\n\\centering\\small\n{}{}\n\\setlength{{\\tabcolsep}}{{{}pt}}\n"
      "\\begin{{tabular}}{{{}}}\n\\toprule\n",
      latex_caption(table.title, table.caption, "tab:" + table.name), form.size->command,
      form.size->separation, form.columns);
  text += row(table.columns) + "\\midrule\n";
  for (const auto& cells : table.rows)
    text += row(cells);
  return text + "\\bottomrule\n\\end{tabular}\n\\end{table}\n";
}

}  // namespace sculpt
