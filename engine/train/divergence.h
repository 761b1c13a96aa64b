#pragma once
// Training that diverged: how it is found, and what the message about it says.

#include <string>

#include "engine/autograd/parameters.h"
#include "engine/core/error.h"
#include "engine/train/run_store.h"

namespace sculpt {

/// Thrown where a number that must be finite is not; what() says which.
class Divergence : public Error {
 public:
  using Error::Error;
};

/// Throws Divergence naming the first weight, momentum or running statistic that is infinite or not
/// a number. The loss alone does not show them: ReLU makes 0 of what is not a number. The arena's
/// elements must be float.
void require_finite(ParameterArena& parameters);

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
