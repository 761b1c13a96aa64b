#pragma once
// While an object of this class lives, the network has the average of the weights that its
// optimizer keeps, if the optimizer keeps one. Nothing may be trained, saved or pruned meanwhile.

#include "engine/optim/optimizer.h"

namespace sculpt {

class AveragedWeights {
 public:
  explicit AveragedWeights(Optimizer& optimizer)
      : optimizer_(optimizer.has_average() ? &optimizer : nullptr) {
    if (optimizer_ != nullptr) optimizer_->swap_average();
  }
  ~AveragedWeights() {
    if (optimizer_ != nullptr) optimizer_->swap_average();
  }
  AveragedWeights(const AveragedWeights&) = delete;
  AveragedWeights& operator=(const AveragedWeights&) = delete;

 private:
  Optimizer* optimizer_;
};

}  // namespace sculpt
