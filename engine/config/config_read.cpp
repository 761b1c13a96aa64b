#include <algorithm>
#include <cmath>

#include "engine/config/config.h"
#include "engine/config/config_text.h"
#include "engine/config/number_meant.h"
#include "engine/core/error.h"
#include "engine/core/nearest_name.h"

namespace sculpt {
namespace {

/// Returns the list, as TOML, that a person meant by "[a, b]" or "a" without quotes.
std::string texts_meant(std::string_view text) {
  const auto strip = [](std::string_view part, std::string_view characters) {
    const size_t begin = part.find_first_not_of(characters);
    if (begin == std::string_view::npos) return std::string_view();
    return part.substr(begin, part.find_last_not_of(characters) - begin + 1);
  };
  text = strip(text, "[] ");
  std::vector<std::string> items;
  while (!text.empty()) {
    const size_t comma = std::min(text.find(','), text.size());
    const std::string_view item = strip(text.substr(0, comma), " \"'");
    if (!item.empty()) items.emplace_back(item);
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return toml_text(items);
}

/// Sets each visited option from the document.
class Reader : public OptionVisitor {
 public:
  Reader(const ConfigDocument& document, const std::string& section)
      : document_(document), prefix_(section.empty() ? "" : section + ".") {}

  void integer(std::string_view name, int64_t& value, IntegerRange range,
               std::string_view) override {
    const ConfigValue* given = find(name);
    if (!given) return;
    const auto* number = std::get_if<int64_t>(&given->value);
    if (!number) wrong(name, *given, "a whole number", range_text(range), whole_number(*given));
    if (*number < range.low || *number > range.high) out_of_range(name, *given, range_text(range));
    value = *number;
  }

  void real(std::string_view name, double& value, RealRange range, std::string_view) override {
    const ConfigValue* given = find(name);
    if (given) value = real_of(name, *given, range);
  }

  void boolean(std::string_view name, bool& value, std::string_view) override {
    const ConfigValue* given = find(name);
    if (!given) return;
    const auto* flag = std::get_if<bool>(&given->value);
    if (!flag) wrong(name, *given, "true or false", "");
    value = *flag;
  }

  void text(std::string_view name, std::string& value, std::string_view) override {
    const ConfigValue* given = find(name);
    if (given) value = text_of(name, *given);
  }

  void choice(std::string_view name, std::string& value, const std::vector<std::string>& allowed,
              std::string_view) override {
    const ConfigValue* given = find(name);
    if (!given) return;
    const std::string word = text_of(name, *given);
    for (const std::string& candidate : allowed)
      if (word == candidate) {
        value = word;
        return;
      }
    fail("{}: {} = \"{}\" is not known{}; it is one of {}", given->source, key(name, *given), word,
         did_you_mean(word, allowed), list_text(allowed));
  }

  void choice_or_count(std::string_view name, std::string& value,
                       const std::vector<std::string>& allowed, std::string_view) override {
    const ConfigValue* given = find(name);
    if (!given) return;
    if (const auto* count = std::get_if<int64_t>(&given->value)) {
      if (*count < 1) out_of_range(name, *given, "at least 1, or one of " + list_text(allowed));
      value = fmt::format("{}", *count);
      return;
    }
    const auto* word = std::get_if<std::string>(&given->value);
    if (!word) wrong(name, *given, "a whole number or one of " + list_text(allowed), "");
    if (std::ranges::find(allowed, *word) == allowed.end())
      fail("{}: {} = \"{}\" is not known{}; it is one of {}, or a whole number of at least 1{}",
           given->source, key(name, *given), *word, did_you_mean(*word, allowed),
           list_text(allowed), whole_number(*given));
    value = *word;
  }

  void reals(std::string_view name, std::vector<double>& values, RealRange range,
             std::string_view) override {
    const ConfigValue* given = find(name);
    if (!given) return;
    const auto* array = std::get_if<ConfigValue::Array>(&given->value);
    if (!array) wrong(name, *given, "a list of numbers", range_text(range), list_hint(*given));
    values.clear();
    for (const ConfigValue& item : *array)
      values.push_back(real_of(name, item, range));
  }

  void texts(std::string_view name, std::vector<std::string>& values, std::string_view) override {
    const ConfigValue* given = find(name);
    if (!given) return;
    const auto* array = std::get_if<ConfigValue::Array>(&given->value);
    if (!array) wrong(name, *given, "a list of texts", "", texts_hint(name, *given));
    values.clear();
    for (const ConfigValue& item : *array)
      values.push_back(text_of(name, item));
  }

 private:
  std::string key(std::string_view name) const { return prefix_ + std::string(name); }
  /// The key for messages, with the name that the config uses.
  std::string key(std::string_view name, const ConfigValue& given) const {
    if (given.old_name.empty()) return key(name);
    return fmt::format("{} (written {})", key(name), given.old_name);
  }
  const ConfigValue* find(std::string_view name) const { return document_.find(key(name)); }

  [[noreturn]] void wrong(std::string_view name, const ConfigValue& given, std::string_view wanted,
                          const std::string& range, const std::string& hint = "") const {
    fail("{}: {} must be {}{}, not {}{}", given.source, key(name, given), wanted,
         range.empty() ? "" : " " + range, given.describe(), hint);
  }
  static std::string advice(const std::string& meant) {
    return meant.empty() ? "" : "; write " + meant;
  }
  /// 10.0 is a whole number to a person, and none to TOML. So is "10".
  static std::string whole_number(const ConfigValue& given) {
    const auto* words = std::get_if<std::string>(&given.value);
    if (words != nullptr) {
      std::string meant = number_meant(*words);
      if (meant.ends_with(".0")) meant.resize(meant.size() - 2);
      return meant.find_first_of(".e") == std::string::npos ? advice(meant) : "";
    }
    const auto* real = std::get_if<double>(&given.value);
    const bool whole = real != nullptr && *real == std::round(*real) && std::abs(*real) < 1e15;
    return whole ? fmt::format("; write {:.0f}, without a decimal point", *real) : "";
  }
  static std::string number_hint(const ConfigValue& given) {
    const auto* words = std::get_if<std::string>(&given.value);
    return words == nullptr ? "" : advice(number_meant(*words));
  }
  static std::string list_hint(const ConfigValue& given) {
    if (const auto* words = std::get_if<std::string>(&given.value))
      return advice(numbers_meant(*words));
    const bool number =
        std::holds_alternative<int64_t>(given.value) || std::holds_alternative<double>(given.value);
    return number ? advice("[" + given.describe() + "]") : "";
  }
  /// One text is no list to TOML, and a shell takes the quotes out of --set KEY=["a", "b"].
  std::string texts_hint(std::string_view name, const ConfigValue& given) const {
    const auto* words = std::get_if<std::string>(&given.value);
    if (words == nullptr) return "";
    const std::string meant = texts_meant(*words);
    return given.text.empty() ? advice(meant) : advice(fmt::format("'{}={}'", key(name), meant));
  }
  [[noreturn]] void out_of_range(std::string_view name, const ConfigValue& given,
                                 const std::string& range) const {
    fail("{}: {} = {} is out of range; it must be {}", given.source, key(name, given),
         given.describe(), range);
  }

  double real_of(std::string_view name, const ConfigValue& given, RealRange range) const {
    double number = 0;
    if (const auto* real = std::get_if<double>(&given.value))
      number = *real;
    else if (const auto* integer = std::get_if<int64_t>(&given.value))
      number = static_cast<double>(*integer);
    else
      wrong(name, given, "a number", range_text(range), number_hint(given));
    const bool low = range.low_open ? number > range.low : number >= range.low;
    const bool high = range.high_open ? number < range.high : number <= range.high;
    if (!std::isfinite(number) || !low || !high) out_of_range(name, given, range_text(range));
    return number;
  }

  std::string text_of(std::string_view name, const ConfigValue& given) const {
    if (const auto* words = std::get_if<std::string>(&given.value)) return *words;
    // A text given by --set may look like another type, for example --set data.root=2024.
    if (!given.text.empty() && !std::get_if<ConfigValue::Array>(&given.value)) return given.text;
    wrong(name, given, "a text in quotes", "");
  }

  const ConfigDocument& document_;
  std::string prefix_;
};

/// Returns ", did you mean ...?" for a key that does not exist; "" if no known key is similar. A
/// key that is similar to the old name of a key gets the name that the key has now.
std::string suggestion(const std::string& key, const ConfigSections& sections,
                       RenamedKeys renamed) {
  std::vector<std::string> known = config_keys(sections);
  for (const ConfigSection& s : sections)
    if (!s.name.empty() && same_but_for_case(key, s.name))
      return fmt::format("; [{0}] is a section, its keys are {0}.<key>", s.name);
  // A correct key in a wrong or missing section is the more likely mistake, so it is checked first.
  const std::string leaf = key.substr(key.rfind('.') + 1);
  for (const std::string& candidate : known)
    if (same_but_for_case(candidate.substr(candidate.rfind('.') + 1), leaf))
      return fmt::format(", did you mean {}?", candidate);
  for (const RenamedKey& old : renamed)
    known.emplace_back(old.before);
  const std::string near = nearest(key, known);
  if (near.empty()) return "";
  const auto old = std::ranges::find(renamed, near, &RenamedKey::before);
  return fmt::format(", did you mean {}?", old == renamed.end() ? near : std::string(old->now));
}

/// Returns true if keys of this section have moved, so that old configs have the section.
bool is_old_section(const std::string& table, RenamedKeys renamed) {
  return std::ranges::any_of(
      renamed, [&](const RenamedKey& key) { return key.before.starts_with(table + "."); });
}

/// Throws Error for unknown tables. A table without values needs this check, because it has no keys
/// that could be reported as unknown.
void require_known_tables(const ConfigDocument& document, const ConfigSections& sections,
                          const std::set<std::string>& keys) {
  std::vector<std::string> names;
  for (const ConfigSection& section : sections)
    if (!section.name.empty()) names.push_back(section.name);
  for (const auto& [table, source] : document.tables()) {
    if (std::find(names.begin(), names.end(), table) != names.end()) continue;
    if (is_old_section(table, document.renamed())) continue;
    if (keys.count(table)) fail("{}: {} is a key; write {} = VALUE", source, table, table);
    const std::string near = nearest(table, names);
    fail("{}: unknown section [{}]{}; the sections are {}", source, table,
         near.empty() ? "" : fmt::format(", did you mean [{}]?", near), list_text(names));
  }
}

}  // namespace

void read_config(const ConfigDocument& document, const ConfigSections& sections) {
  const std::vector<std::string> known = config_keys(sections);
  const std::set<std::string> names(known.begin(), known.end());
  for (const auto& [key, value] : document.values())
    if (!names.count(key))
      fail("{}: unknown key {}{} (sculpt_run --help-config lists all keys)", value.source, key,
           suggestion(key, sections, document.renamed()));
  require_known_tables(document, sections, names);
  for (const ConfigSection& section : sections) {
    Reader reader(document, section.name);
    section.visit(reader);
  }
}

}  // namespace sculpt
