// Writes a study as a study file.

#include <fmt/ranges.h>

#include "engine/config/config_text.h"
#include "engine/study/selection.h"
#include "engine/study/study_file.h"

namespace sculpt {
namespace {

std::string line(const std::string& key, const std::string& toml) {
  return fmt::format("{} = {}\n", key, toml);
}

/// Returns a line with a text; "" if the text is empty.
std::string text_line(const std::string& key, const std::string& text) {
  return text.empty() ? "" : line(key, toml_text(text));
}

std::string settings_text(const StudySettings& settings) {
  std::string text;
  for (const auto& [key, value] : settings)
    text += line(key, value.toml);
  return text;
}

/// Returns a value of a selection as TOML. Numbers, bools and lists stand as they are.
std::string toml_of_text(const std::string& text) {
  const bool plain = number_in(text) == number_in(text) || text == "true" || text == "false" ||
                     text.starts_with('[');
  return plain ? text : toml_text(text);
}

std::string selection_lines(const Selection& selection, const std::string& separator) {
  std::string text;
  for (const auto& [key, values] : selection.values) {
    std::vector<std::string> list;
    for (const std::string& value : values)
      list.push_back(toml_of_text(value));
    text += fmt::format("{}{} = [{}]", text.empty() ? "" : separator, key, fmt::join(list, ", "));
  }
  return text;
}

std::string inline_selection(const std::string& key, const Selection& selection) {
  if (selection.values.empty()) return "";
  return fmt::format("{} = {{{}}}\n", key, selection_lines(selection, ", "));
}

std::string claim_text(const StudyClaim& claim) {
  return "\n[[claim]]\n" + text_line("id", claim.id) + text_line("text", claim.text) +
         inline_selection("better", claim.better) + inline_selection("than", claim.than) +
         text_line("metric", claim.metric) + text_line("direction", claim.direction) +
         (claim.over.empty() ? "" : line("over", toml_text(claim.over))) +
         inline_selection("where", claim.where);
}

std::string figure_text(const StudyFigure& figure) {
  return "\n[[figure]]\n" + text_line("name", figure.name) + text_line("title", figure.title) +
         text_line("caption", figure.caption) + text_line("x", figure.x) +
         text_line("y", figure.y) + text_line("series", figure.series) +
         (figure.log_x ? line("log_x", "true") : "") + (figure.log_y ? line("log_y", "true") : "") +
         inline_selection("where", figure.where);
}

}  // namespace

std::string to_toml(const Study& study, const std::map<std::string, std::string>& bases) {
  const auto base_line = [&](const std::string& base) {
    const auto found = bases.find(base);
    return text_line("base", found == bases.end() ? base : found->second);
  };
  std::string text =
      "# Written by sculpt_study: the study with the choices of the command. Programs read this "
      "file.\n";
  text += text_line("format", kStudyFormat.text()) + text_line("title", study.title) +
          text_line("source", study.source) + base_line(study.base) +
          text_line("pool", study.pool) + text_line("chosen_size", study.size);
  text += "\n[set]\n" + settings_text(study.settings);
  text += "\n[vary]\n";
  for (const StudyAxis& axis : study.axes) {
    std::vector<std::string> values;
    for (const StudyValue& value : axis.values)
      values.push_back(value.toml);
    text += line(axis.key, fmt::format("[{}]", fmt::join(values, ", ")));
  }
  for (const StudyVariant& variant : study.variants)
    text += fmt::format("\n[variant.{}]\n", variant.name) + text_line("label", variant.label) +
            base_line(variant.base) + settings_text(variant.settings);
  for (const Selection& selection : study.excluded)
    text += "\n[[exclude]]\n" + selection_lines(selection, "\n") + "\n";
  for (const StudyClaim& claim : study.claims)
    text += claim_text(claim);
  for (const StudyFigure& figure : study.figures)
    text += figure_text(figure);
  return text;
}

}  // namespace sculpt
