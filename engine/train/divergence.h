#pragma once
// Finds out that training has diverged, and says so in a message.

#include <cstdint>
#include <optional>
#include <string>

#include "engine/core/error.h"
#include "engine/parameters/parameter_arena.h"
#include "engine/run/run_store.h"

namespace sculpt {

/// Thrown if a number that must be finite is not; what() names the number.
class Divergence : public Error {
 public:
  explicit Divergence(const std::string& text, std::optional<int64_t> step = std::nullopt)
      : Error(text), step_(step) {}
  /// Returns the step of the epoch that the number belongs to, if that is not the last step. The
  /// loss of a device is read some steps later.
  std::optional<int64_t> step() const { return step_; }

 private:
  std::optional<int64_t> step_;
};

/// Throws Divergence naming the first parameter, array of the optimizer or running statistic with a
/// value that is infinite or not a number. The loss alone does not show such values, because ReLU
/// turns NaN into 0. The arena's elements must be float.
void require_finite(ParameterArena& parameters);

/// Throws Divergence that names `what` if a loss is infinite or not a number. `step` is the step of
/// the epoch that the loss belongs to, if it is not the last step.
void require_finite(const char* what, double loss, std::optional<int64_t> step = std::nullopt);

/// The place where training diverged.
struct DivergencePlace {
  int64_t epoch = 0;   ///< from 1, since the start of the run
  int64_t step = 0;    ///< step of the epoch; 0 after the epoch's end
  double lr = 0;       ///< learning rate of the last step
  double peak_lr = 0;  ///< the setting optim.lr
};

/// Returns the whole message: what happened, which checkpoint of the folder is good, if any, and a
/// command that starts again with a lower learning rate in another folder.
std::string divergence_message(const Divergence& divergence, const DivergencePlace& place,
                               const RunStore& store);

}  // namespace sculpt
