#include "engine/analyze/analysis_images.h"

#include <algorithm>

#include "engine/core/error.h"
#include "engine/core/phase.h"

namespace sculpt {
namespace {

const std::function<bool()> kNeverStop = [] { return false; };

/// Adds up the losses of batches.
struct Sums {
  double loss = 0;
  int64_t correct = 0, images = 0;

  void add(const kernels::LossSums& sums, int64_t count) {
    loss += sums.loss;
    correct += sums.correct;
    images += count;
  }
  Evaluation mean() const {
    const auto n = static_cast<double>(images);
    return {loss / n, static_cast<double>(correct) / n};
  }
};

}  // namespace

Evaluation evaluate_train(Network& network, const AnalysisImages& images) {
  Sums sums;
  const int64_t most = network.max_batch();
  for (int64_t first = 0; first < images.train_count; first += most) {
    check_stop();
    const int64_t count = std::min(most, images.train_count - first);
    network.load(images.train(first, count), images.normalization());
    sums.add(network.forward(Mode::eval), count);
  }
  return sums.mean();
}

Evaluation evaluate_test(Network& network, const AnalysisImages& images) {
  Sums sums;
  images.test.start_epoch(0, 0);
  for (Batch batch = images.test.next(); batch.count > 0; batch = images.test.next()) {
    check_stop();
    network.load(batch, images.normalization());
    sums.add(network.forward(Mode::eval), batch.count);
  }
  return sums.mean();
}

void recompute_statistics(Network& network, const AnalysisImages& images) {
  reestimate_batch_norm(network, images.train, images.train_count, images.normalization(),
                        kNeverStop);
}

MeanLoss train_loss(Network& network, const AnalysisImages& images) {
  return {.network = network,
          .batches = 1,
          .batch = [&images](int64_t) { return images.train(0, images.train_count); },
          .normalization = images.normalization(),
          .mode = Mode::frozen};
}

int64_t ClassResults::images_of(int64_t label) const {
  int64_t sum = 0;
  for (int64_t predicted = 0; predicted < classes; ++predicted)
    sum += count(label, predicted);
  return sum;
}

ClassResults evaluate_classes(Network& network, BatchSource& source) {
  ClassResults results;
  results.classes = source.classes();
  const auto classes = static_cast<size_t>(source.classes());
  results.confusion.resize(classes * classes);
  Sums sums;
  Phase phase("evaluating", source.size());
  source.start_epoch(0, 0);
  for (Batch batch = source.next(); batch.count > 0; batch = source.next()) {
    network.load(batch, source.normalization());
    sums.add(network.forward(Mode::eval), batch.count);
    const std::vector<float> logits = network.logits();
    for (size_t n = 0; n < static_cast<size_t>(batch.count); ++n) {
      const auto begin = logits.begin() + static_cast<std::ptrdiff_t>(n * classes);
      const auto end = begin + static_cast<std::ptrdiff_t>(classes);
      const auto predicted = static_cast<size_t>(std::max_element(begin, end) - begin);
      ++results.confusion[static_cast<size_t>(batch.labels[n]) * classes + predicted];
    }
    phase.advance(batch.count);
  }
  results.all = sums.mean();
  return results;
}

}  // namespace sculpt
