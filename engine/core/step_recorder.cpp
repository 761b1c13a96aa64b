#include "engine/core/step_recorder.h"

namespace sculpt {

StepRecorder::~StepRecorder() {
  for (const auto& [images, recording] : recordings_)
    if (recording) hooks_.discard(recording);
}

void StepRecorder::run(int64_t images, const std::function<void()>& launches) {
  const auto [place, first] = recordings_.try_emplace(images, nullptr);
  // The first step is not recorded, because it loads kernels and lets libraries allocate memory
  // that they keep.
  if (first || !hooks_.record) return launches();
  if (!place->second) place->second = hooks_.record(launches);
  hooks_.replay(place->second);
  ++replayed_;
}

}  // namespace sculpt
