#include "engine/train/evaluate.h"

namespace sculpt {

std::optional<Evaluation> evaluate(Network& network, BatchSource& source,
                                   const std::function<bool()>& stop) {
  double loss = 0;
  int64_t correct = 0, images = 0;
  source.start_epoch(0, 0);
  for (Batch batch = source.next(); batch.count > 0; batch = source.next()) {
    if (stop()) return std::nullopt;
    network.load(batch, source.normalization());
    const kernels::LossSums sums = network.forward(Mode::eval);
    loss += sums.loss;
    correct += sums.correct;
    images += batch.count;
  }
  const auto n = static_cast<double>(images);
  return Evaluation{loss / n, static_cast<double>(correct) / n};
}

}  // namespace sculpt
