#include "engine/optim/optimizer.h"

#include "engine/optim/sgd.h"

namespace sculpt {

std::unique_ptr<Optimizer> make_optimizer(ParameterArena& parameters, const OptimOptions& options) {
  return std::make_unique<Sgd>(parameters, options);
}

}  // namespace sculpt
