#pragma once
// Chooses the implementation of a kernel for each problem, once per problem.

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "kernels/tuning/choice_file.h"

namespace sculpt::kernels {

/// Choices, keyed by the text of their problem.
using Choices = std::map<std::string, Choice>;

class Chooser {
 public:
  /// A problem that the library cannot solve, and why.
  struct Refusal {
    std::string problem, reason;
  };

  /// Measures a problem. Returns no value if the problem cannot be measured now.
  using Measure = std::function<std::optional<Timing>()>;

  /// Creates a chooser that measures, and gives every problem to the faster implementation.
  explicit Chooser(ChoiceFile file) : file_(std::move(file)) {}
  /// Creates a chooser that gives every problem to the library if the library can solve it.
  Chooser() = default;

  bool measures() const { return file_.has_value(); }

  /// Sets the choices of the run that is resumed or repeated. A chooser that measures makes these
  /// choices again instead of measuring.
  void recall(const Choices& recorded) { recorded_ = recorded; }

  /// From now on, every choice is agree(choice of this process). With several processes, which must
  /// choose for the same problems in the same order, `agree` returns the choice of the one that
  /// leads. The others measure nothing.
  void follow(bool leads, std::function<Choice(Choice)> agree) {
    leads_ = leads;
    agree_ = std::move(agree);
  }

  /// Returns the choice for a problem: the one made before in this process, in the run that is
  /// resumed, or in the file. Without such a choice, measures the problem, and keeps and stores the
  /// faster one. If the problem cannot be measured, returns native.
  Choice choose(const std::string& problem, const Measure& measure);

  /// Records that the library cannot solve a problem, and why. The problem then runs on native
  /// kernels.
  void refuse(const std::string& problem, const std::string& reason);

  /// All choices of this process.
  const Choices& made() const { return made_; }
  /// All choices of this process and all recalled choices. A run must record them so that it can be
  /// resumed and repeated.
  Choices to_record() const;
  const std::vector<Refusal>& refusals() const { return refusals_; }
  /// The times that were measured in this process.
  const std::map<std::string, Timing>& timings() const { return timings_; }

 private:
  Choice decide(const std::string& problem, const Measure& measure);

  bool leads_ = true;
  std::function<Choice(Choice)> agree_;  // empty: this process chooses for itself
  std::optional<ChoiceFile> file_;
  Choices recorded_;
  Choices made_;
  std::vector<Refusal> refusals_;
  std::map<std::string, Timing> timings_;
};

}  // namespace sculpt::kernels
