#include "kernels/tuning/chooser.h"

namespace sculpt::kernels {

Choice Chooser::choose(const std::string& problem, const Measure& measure) {
  const auto made = made_.find(problem);
  if (made != made_.end()) return made->second;
  Choice choice = leads_ ? decide(problem, measure) : Choice::native;
  if (agree_) choice = agree_(choice);
  return made_[problem] = choice;
}

Choices Chooser::to_record() const {
  Choices choices = made_;
  choices.insert(recorded_.begin(), recorded_.end());
  return choices;
}

void Chooser::refuse(const std::string& problem, const std::string& reason) {
  made_[problem] = Choice::native;
  refusals_.push_back({problem, reason});
}

Choice Chooser::decide(const std::string& problem, const Measure& measure) {
  if (!measures()) return Choice::library;
  const auto recorded = recorded_.find(problem);
  if (recorded != recorded_.end()) return recorded->second;
  if (const auto known = file_->find(problem)) return *known;
  const std::optional<Timing> timing = measure();
  if (!timing) return Choice::native;
  timings_[problem] = *timing;
  return file_->add(problem, *timing);
}

}  // namespace sculpt::kernels
