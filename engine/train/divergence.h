#pragma once
// Training that diverged: how it is found, and what the message about it says.

#include <cstdint>
#include <optional>
#include <string>

#include "engine/core/error.h"
#include "engine/parameters/parameter_arena.h"
#include "engine/run/run_store.h"

namespace sculpt {

/// Thrown where a number that must be finite is not; what() says which.
class Divergence : public Error {
 public:
  explicit Divergence(const std::string& text, std::optional<int64_t> step = std::nullopt)
      : Error(text), step_(step) {}
  /// The step of the epoch that the number belongs to, where that is not the last step: a device is
  /// asked for its loss some steps later.
  std::optional<int64_t> step() const { return step_; }

 private:
  std::optional<int64_t> step_;
};

/// Throws Divergence naming the first parameter, array of the optimizer or running statistic with a
/// value that is infinite or not a number. The loss alone does not show them: ReLU makes 0 of what
/// is not a number. The arena's elements must be float.
void require_finite(ParameterArena& parameters);

/// Throws Divergence that names `what` if a loss is infinite or not a number. `step`: of the epoch,
/// if the loss is that of an earlier step.
void require_finite(const char* what, double loss, std::optional<int64_t> step = std::nullopt);

/// The place where training diverged.
struct DivergencePlace {
  int64_t epoch = 0;   ///< from 1, since the start of the run
  int64_t step = 0;    ///< of the epoch; 0: after its end
  double lr = 0;       ///< of the last step
  double peak_lr = 0;  ///< train.lr
};

/// The whole message: what happened, which checkpoint of the folder is good, or that there is none,
/// and a command that starts again with a lower learning rate in another folder.
std::string divergence_message(const Divergence& divergence, const DivergencePlace& place,
                               const RunStore& store);

}  // namespace sculpt
