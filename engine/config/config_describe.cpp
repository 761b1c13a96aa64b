#include "engine/config/config.h"
#include "engine/config/config_text.h"
#include "engine/core/error.h"

namespace sculpt {
namespace {

/// One option, as a row of the table.
struct Row {
  std::string name, type, fallback, range, help;
};

/// Collects the options of one section.
class Describer : public OptionVisitor {
 public:
  void integer(std::string_view name, int64_t& value, IntegerRange range,
               std::string_view help) override {
    row(name, "integer", fmt::format("{}", value), range_text(range), help);
  }
  void real(std::string_view name, double& value, RealRange range, std::string_view help) override {
    row(name, "number", toml_text(value), range_text(range), help);
  }
  void boolean(std::string_view name, bool& value, std::string_view help) override {
    row(name, "boolean", value ? "true" : "false", "", help);
  }
  void text(std::string_view name, std::string& value, std::string_view help) override {
    row(name, "text", toml_text(value), "", help);
  }
  void choice(std::string_view name, std::string& value, const std::vector<std::string>& allowed,
              std::string_view help) override {
    row(name, "choice", toml_text(value), "one of " + list_text(allowed), help);
  }
  void choice_or_count(std::string_view name, std::string& value,
                       const std::vector<std::string>& allowed, std::string_view help) override {
    row(name, "choice or integer", choice_or_count_toml(value),
        "one of " + list_text(allowed) + ", or at least 1", help);
  }
  void reals(std::string_view name, std::vector<double>& values, RealRange range,
             std::string_view help) override {
    const std::string each = range_text(range);
    row(name, "list of numbers", toml_text(values), each.empty() ? "" : "each " + each, help);
  }
  void texts(std::string_view name, std::vector<std::string>& values,
             std::string_view help) override {
    row(name, "list of texts", toml_text(values), "", help);
  }

  std::vector<Row> rows;

 private:
  void row(std::string_view name, std::string type, std::string fallback, std::string range,
           std::string_view help) {
    rows.push_back({std::string(name), std::move(type), std::move(fallback), std::move(range),
                    std::string(help)});
  }
};

std::vector<Row> rows_of(const ConfigSection& section) {
  Describer describer;
  section.visit(describer);
  return std::move(describer.rows);
}

std::string number_text(int64_t n) {
  return fmt::format("{}", n);
}
std::string number_text(double n) {
  return fmt::format("{}", n);
}

template <class Range>
std::string bounds_text(const Range& range, bool low_open, bool high_open) {
  using Number = decltype(range.low);
  const bool low = range.low != Range{}.low, high = range.high != Range{}.high;
  const std::string from = number_text(Number(range.low)), to = number_text(Number(range.high));
  if (low && high && !low_open && !high_open) return fmt::format("from {} to {}", from, to);
  std::string text;
  if (low) text = fmt::format("{} {}", low_open ? "above" : "at least", from);
  if (high) text += fmt::format("{}{} {}", low ? " and " : "", high_open ? "below" : "at most", to);
  return text;
}

std::string cell(const std::string& text) {
  std::string escaped;
  for (const char c : text)
    escaped += c == '|' ? std::string("\\|") : std::string(1, c);
  return escaped;
}

}  // namespace

std::string range_text(IntegerRange range) {
  return bounds_text(range, false, false);
}

std::string range_text(RealRange range) {
  return bounds_text(range, range.low_open, range.high_open);
}

std::string list_text(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words)
    text += (text.empty() ? "" : ", ") + word;
  return text;
}

std::vector<std::string> config_keys(const ConfigSections& sections) {
  std::vector<std::string> keys;
  for (const ConfigSection& section : sections)
    for (const Row& row : rows_of(section))
      keys.push_back(section.name.empty() ? row.name : section.name + "." + row.name);
  return keys;
}

std::string describe_config_markdown(const ConfigSections& sections) {
  std::string page;
  for (const ConfigSection& section : sections) {
    page +=
        section.name.empty() ? "## Top of the file\n\n" : fmt::format("## [{}]\n\n", section.name);
    page +=
        section.help + "\n\n| key | type | default | range | meaning |\n|---|---|---|---|---|\n";
    for (const Row& row : rows_of(section))
      page += fmt::format("| `{}` | {} | `{}` | {} | {} |\n", row.name, row.type,
                          cell(row.fallback), cell(row.range), cell(row.help));
    page += "\n";
  }
  return page;
}

std::string describe_config_text(const ConfigSections& sections) {
  std::string page;
  for (const ConfigSection& section : sections) {
    page += section.name.empty() ? section.help + "\n"
                                 : fmt::format("[{}] {}\n", section.name, section.help);
    for (const Row& row : rows_of(section)) {
      const std::string key = section.name.empty() ? row.name : section.name + "." + row.name;
      page += fmt::format("  {} = {}   ({}{})\n      {}\n", key, row.fallback, row.type,
                          row.range.empty() ? "" : ", " + row.range, row.help);
    }
    page += "\n";
  }
  return page;
}

}  // namespace sculpt
