#pragma once
// Which of two implementations a kernel's problems are given to, decided once for each problem.

#include <functional>
#include <map>
#include <optional>
#include <string>

#include "kernels/tuning/choice_file.h"

namespace sculpt::kernels {

/// Choices by the text of their problem.
using Choices = std::map<std::string, Choice>;

class Chooser {
 public:
  /// Nothing if it cannot be measured now.
  using Measure = std::function<std::optional<Timing>()>;

  explicit Chooser(ChoiceFile file) : file_(std::move(file)) {}

  /// Choices that must be made again: those of the run that is resumed.
  void recall(const Choices& recorded) { recorded_ = recorded; }

  /// The choice made before: in this process, in the run that is resumed, in the file. Else
  /// measures, keeps the faster and writes it down; native if it cannot be measured.
  Choice choose(const std::string& problem, const Measure& measure);

  /// All choices of this process.
  const Choices& made() const { return made_; }

 private:
  Choice decide(const std::string& problem, const Measure& measure);

  ChoiceFile file_;
  Choices recorded_;
  Choices made_;
};

}  // namespace sculpt::kernels
