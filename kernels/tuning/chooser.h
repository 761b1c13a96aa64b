#pragma once
// Which of the implementations of a kernel a problem is given to, decided once for each problem.

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "kernels/tuning/choice_file.h"

namespace sculpt::kernels {

/// Choices by the text of their problem.
using Choices = std::map<std::string, Choice>;

class Chooser {
 public:
  /// A problem that the library cannot solve, and why.
  struct Refusal {
    std::string problem, reason;
  };

  /// Nothing if it cannot be measured now.
  using Measure = std::function<std::optional<Timing>()>;

  /// Gives every problem to the faster one.
  explicit Chooser(ChoiceFile file) : file_(std::move(file)) {}
  /// Gives every problem to the library, if that can solve it.
  Chooser() = default;

  bool measures() const { return file_.has_value(); }

  /// Choices that must be made again where they are measured: those of the run that is resumed or
  /// repeated.
  void recall(const Choices& recorded) { recorded_ = recorded; }

  /// The choice made before: in this process, in the run that is resumed, in the file. Else
  /// measures, keeps the faster and writes it down; native if it cannot be measured.
  Choice choose(const std::string& problem, const Measure& measure);

  /// Notes that the library cannot solve a problem, which is native for this reason.
  void refuse(const std::string& problem, const std::string& reason);

  /// All choices of this process.
  const Choices& made() const { return made_; }
  /// All choices of this process, and those recalled: what a run must record in order that it can
  /// be resumed and repeated.
  Choices to_record() const;
  const std::vector<Refusal>& refusals() const { return refusals_; }
  /// What was measured in this process.
  const std::map<std::string, Timing>& timings() const { return timings_; }

 private:
  Choice decide(const std::string& problem, const Measure& measure);

  std::optional<ChoiceFile> file_;
  Choices recorded_;
  Choices made_;
  std::vector<Refusal> refusals_;
  std::map<std::string, Timing> timings_;
};

}  // namespace sculpt::kernels
