#include "engine/report/markup.h"

#include <array>
#include <cctype>
#include <cstdint>
#include <utility>

namespace sculpt {
namespace {

constexpr std::string_view kReplacement = "\uFFFD";

/// Returns the number of bytes of the UTF-8 character at the start of `text`; 0 if there is none.
size_t character_bytes(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  const size_t count = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || text.size() < count) return 0;
  uint32_t code = first & (0x7Fu >> count);
  for (size_t i = 1; i < count; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
    code = code << 6 | (byte(i) & 0x3Fu);
  }
  const bool overlong = (count == 3 && code < 0x800) || (count == 4 && code < 0x10000);
  const bool surrogate = code >= 0xD800 && code <= 0xDFFF;
  // XML does not allow these two.
  const bool none = code == 0xFFFE || code == 0xFFFF;
  return overlong || surrogate || none || code > 0x10FFFF ? 0 : count;
}

/// Appends the text, with other words for the characters that `word_for` has a word for.
template <class WordFor>
std::string replaced(std::string_view text, const WordFor& word_for) {
  const std::string valid = valid_text(text);
  std::string result;
  result.reserve(valid.size());
  for (size_t at = 0; at < valid.size();) {
    const size_t bytes = character_bytes(std::string_view(valid).substr(at));
    const std::string_view character = std::string_view(valid).substr(at, bytes);
    const std::string_view word = word_for(character);
    result += word.empty() ? character : word;
    at += bytes;
  }
  return result;
}

using Words = std::pair<std::string_view, std::string_view>;

template <size_t N>
std::string_view find_word(const std::array<Words, N>& words, std::string_view character) {
  for (const auto& [from, to] : words)
    if (from == character) return to;
  return {};
}

}  // namespace

std::string valid_text(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const size_t bytes = character_bytes(text.substr(at));
    const auto first = static_cast<unsigned char>(text[at]);
    const bool control = (first < 0x20 && first != '\n' && first != '\t') || first == 0x7F;
    if (bytes == 0 || control)
      result += kReplacement;
    else
      result += text.substr(at, bytes);
    at += bytes == 0 ? 1 : bytes;
  }
  return result;
}

std::string escape_markup(std::string_view text) {
  static constexpr std::array<Words, 5> kWords = {
      {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"\"", "&quot;"}, {"'", "&#39;"}}};
  return replaced(text, [](std::string_view c) { return find_word(kWords, c); });
}

std::string escape_latex(std::string_view text) {
  static constexpr std::array<Words, 32> kWords = {{{"\\", "\\textbackslash{}"},
                                                    {"{", "\\{"},
                                                    {"}", "\\}"},
                                                    {"$", "\\$"},
                                                    {"&", "\\&"},
                                                    {"#", "\\#"},
                                                    {"_", "\\_"},
                                                    {"%", "\\%"},
                                                    {"~", "\\textasciitilde{}"},
                                                    {"^", "\\textasciicircum{}"},
                                                    {"<", "\\ensuremath{<}"},
                                                    {">", "\\ensuremath{>}"},
                                                    {"|", "\\ensuremath{|}"},
                                                    {"\"", "''"},
                                                    {"\u00b1", "\\ensuremath{\\pm}"},
                                                    {"\u2212", "\\ensuremath{-}"},
                                                    {"\u00d7", "\\ensuremath{\\times}"},
                                                    {"\u00b7", "\\ensuremath{\\cdot}"},
                                                    {"\u221e", "\\ensuremath{\\infty}"},
                                                    {"\u2264", "\\ensuremath{\\leq}"},
                                                    {"\u2265", "\\ensuremath{\\geq}"},
                                                    {"\u03b1", "\\ensuremath{\\alpha}"},
                                                    {"\u03bb", "\\ensuremath{\\lambda}"},
                                                    {"\u2080", "\\textsubscript{0}"},
                                                    {"\u2081", "\\textsubscript{1}"},
                                                    {"\u2082", "\\textsubscript{2}"},
                                                    {"\u2083", "\\textsubscript{3}"},
                                                    {"\u2026", "\\ldots{}"},
                                                    {"\u2225", "\\ensuremath{\\|}"},
                                                    {"\u2013", "--"},
                                                    {"\u2192", "\\ensuremath{\\rightarrow}"},
                                                    {"\uFFFD", "?"}}};
  return replaced(text, [](std::string_view c) -> std::string_view {
    const std::string_view word = find_word(kWords, c);
    // Fonts of LaTeX have the letters of Western languages, which are below U+0250.
    const bool rare = c.size() > 2 || (c.size() == 2 && static_cast<unsigned char>(c[0]) > 0xC8);
    return word.empty() && rare ? "?" : word;
  });
}

std::string file_name_of(std::string_view text) {
  std::string name;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80 && std::isalnum(byte) != 0)
      name += static_cast<char>(std::tolower(byte));
    else if (!name.empty() && name.back() != '-')
      name += '-';
  }
  while (name.ends_with('-'))
    name.pop_back();
  return name.empty() ? "figure" : name;
}

}  // namespace sculpt
