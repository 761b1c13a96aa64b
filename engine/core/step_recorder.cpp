#include "engine/core/step_recorder.h"

namespace sculpt {

StepRecorder::~StepRecorder() {
  forget();
}

void StepRecorder::forget() {
  for (const auto& [kind, recording] : recordings_)
    if (recording) hooks_.discard(recording);
  recordings_.clear();
}

void StepRecorder::run(const StepKind& kind, const std::function<void()>& launches) {
  const auto [place, first] = recordings_.try_emplace(kind, nullptr);
  // The first step is not recorded, because it loads kernels and lets libraries allocate memory
  // that they keep.
  if (first || !hooks_.record) return launches();
  if (!place->second) place->second = hooks_.record(launches);
  hooks_.replay(place->second);
  ++replayed_;
}

}  // namespace sculpt
