// This file converts plan steps to text and back.

#include <algorithm>
#include <charconv>
#include <optional>

#include "engine/core/error.h"
#include "engine/core/nearest_name.h"
#include "engine/plan/plan.h"
#include "engine/plan/verbs/verbs.h"

namespace sculpt {

namespace {

constexpr std::string_view kForms =
    "\"prune CRITERION ALLOCATION DENSITY\", \"rewind EPOCH\", \"train EPOCHS [from EPOCH] [with "
    "RULE [to DENSITY]]\", \"reinit all\", \"reinit keep signs\", \"reinit keep magnitudes\", "
    "\"shuffle "
    "mask\" or \"load weights|mask|signs|batch_norm from PATH\"";

std::vector<std::string_view> words_of(std::string_view text) {
  std::vector<std::string_view> words;
  while (true) {
    const size_t begin = text.find_first_not_of(" \t");
    if (begin == std::string_view::npos) return words;
    const size_t end = std::min(text.find_first_of(" \t", begin), text.size());
    words.push_back(text.substr(begin, end - begin));
    text.remove_prefix(end);
  }
}

template <class T>
T parse_number(std::string_view word, std::string_view what, std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (error == std::errc::result_out_of_range)
    fail("plan step \"{}\": {} is {}, which is too large", text, what, word);
  if (error != std::errc() || end != word.data() + word.size())
    fail("plan step \"{}\": {} should be a number, but is '{}'", text, what, word);
  return value;
}

/// Parses the name of an action, and "from PATH" if it reads a file. The path is the rest of the
/// text, blanks inside it included: all words are parts of one text. Returns no value if the words
/// have another form.
std::optional<Intervention> parse_intervention(std::span<const std::string_view> words) {
  for (const Action& action : actions()) {
    const std::vector<std::string_view> name = words_of(action.name);
    if (words.size() < name.size() || !std::equal(name.begin(), name.end(), words.begin()))
      continue;
    const auto rest = words.subspan(name.size());
    if (action.reads == FilePart::none && rest.empty())
      return Intervention{std::string(action.name)};
    if (action.reads == FilePart::none || rest.size() < 2 || rest[0] != "from") continue;
    const char* const end = rest.back().data() + rest.back().size();
    return Intervention{std::string(action.name), std::string(rest[1].data(), end)};
  }
  return std::nullopt;
}

/// Parses "train EPOCHS [from EPOCH] [with RULE [to DENSITY]]". Returns no value if the words have
/// another form.
std::optional<Cycle> parse_cycle(std::span<const std::string_view> words, std::string_view text) {
  if (words.size() < 2) return std::nullopt;
  Cycle cycle{parse_number<int64_t>(words[1], "the number of epochs", text)};
  words = words.subspan(2);
  if (words.size() >= 2 && words[0] == "from") {
    cycle.first_epoch = parse_number<int64_t>(words[1], "the first epoch", text);
    words = words.subspan(2);
  }
  if (words.size() >= 2 && words[0] == "with") {
    cycle.rule = words[1];
    words = words.subspan(2);
    if (words.size() >= 2 && words[0] == "to") {
      cycle.density = parse_number<double>(words[1], "the density", text);
      if (!(cycle.density > 0 && cycle.density <= 1))
        fail("plan step \"{}\": density {} must be above 0 and at most 1", text, cycle.density);
      words = words.subspan(2);
    }
  }
  if (!words.empty()) return std::nullopt;
  return cycle;
}

}  // namespace

std::string describe(const PlanStep& step) {
  if (const auto* prune = std::get_if<PruneStep>(&step))
    return fmt::format("prune {} {} {}", prune->criterion, prune->allocation, prune->density);
  if (const auto* rewind = std::get_if<RewindStep>(&step))
    return fmt::format("rewind {}", rewind->epoch);
  if (const auto* intervention = std::get_if<Intervention>(&step))
    return intervention->action + (intervention->path.empty() ? "" : " from " + intervention->path);
  const auto& cycle = std::get<Cycle>(step);
  std::string text = fmt::format("train {}", cycle.epochs);
  if (cycle.first_epoch != 0) text += fmt::format(" from {}", cycle.first_epoch);
  if (!cycle.rule.empty()) text += " with " + cycle.rule;
  if (cycle.density != 0) text += fmt::format(" to {}", cycle.density);
  return text;
}

PlanStep parse_plan_step(std::string_view text) {
  const auto words = words_of(text);
  const std::string_view verb = words.empty() ? std::string_view() : words[0];
  if (verb == "prune" && words.size() == 4)
    return PruneStep{std::string(words[1]), std::string(words[2]),
                     parse_number<double>(words[3], "the density", text)};
  if (verb == "rewind" && words.size() == 2)
    return RewindStep{parse_number<int64_t>(words[1], "the epoch", text)};
  if (verb == "train")
    if (const auto cycle = parse_cycle(words, text)) return *cycle;
  if (const auto intervention = parse_intervention(words)) return *intervention;
  const std::vector<std::string> verbs = {"prune", "rewind", "train", "reinit", "shuffle", "load"};
  const bool known = std::ranges::find(verbs, verb) != verbs.end();
  fail("plan step \"{}\" is not understood{}; a step is {}", text,
       known ? "" : did_you_mean(verb, verbs), kForms);
}

}  // namespace sculpt
