#include "engine/nn/evaluate.h"

#include "engine/core/phase.h"

namespace sculpt {

std::optional<Evaluation> evaluate(Network& network, BatchFeed& feed,
                                   const std::function<bool()>& stop) try {
  int64_t images = 0;
  network.set_loss_sums({});
  feed.start_epoch(0, 0);
  Phase phase("evaluating", feed.size());
  for (int64_t count = feed.next(); count > 0; count = feed.next()) {
    if (stop()) return std::nullopt;
    feed.load();
    network.forward_adding(Mode::eval);
    images += count;
    phase.advance(count);
  }
  const kernels::LossSums sums = network.loss_sums();
  const auto n = static_cast<double>(images);
  return Evaluation{sums.loss / n, static_cast<double>(sums.correct) / n};
} catch (const Interrupted&) {
  return std::nullopt;
}

}  // namespace sculpt
