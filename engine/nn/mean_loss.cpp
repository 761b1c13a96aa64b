#include "engine/nn/mean_loss.h"

#include <algorithm>

#include "engine/core/error.h"
#include "engine/nn/batch_norm_state.h"
#include "engine/nn/measured_passes.h"

namespace sculpt {

void for_each_piece(const MeanLoss& loss, const std::function<void(double share)>& body) {
  SCULPT_CHECK(loss.batch, "a loss needs data, but there is no batch");
  SCULPT_CHECK(loss.mode != Mode::eval, "a loss that is differentiated has no mode eval");
  Network& network = loss.network;
  const KeepBatchNormState keep(network.parameters());
  const MeasuredPasses measured(network);
  const int64_t image = network.spec().image.count();
  for (int64_t index = 0; index < loss.batches; ++index) {
    const Batch batch = loss.batch(index);
    if (batch.count <= 0) fail("score batch {} is empty; check the training set", index);
    // The pieces are even: for a network of at most 99 images, 100 images become 50 and 50, because
    // batch norm cannot process a single image.
    const int64_t pieces = kernels::ceil_div(batch.count, network.max_batch());
    for (int64_t piece = 0; piece < pieces; ++piece) {
      const int64_t first = batch.count * piece / pieces;
      const int64_t count = batch.count * (piece + 1) / pieces - first;
      network.load({batch.images + first * image, batch.labels + first, count}, loss.normalization);
      const double share = static_cast<double>(count) / static_cast<double>(batch.count);
      body(share / static_cast<double>(loss.batches));
    }
  }
}

Buffer zeroed_scores(const ParameterArena& parameters) {
  return {static_cast<size_t>(parameters.prunable_count()) * sizeof(double), "pruning scores",
          parameters.backend().memory};
}

void add_gradient(Network& network, double factor, Buffer& sum) {
  network.parameters().store_dense();
  const ParameterArena& parameters = network.parameters();
  const kernels::Backend& backend = parameters.backend();
  backend.pruning.add_scaled(sum.as<double>(), factor, parameters.gradient_array(),
                             parameters.mask_array(), parameters.prunable_runs(), backend.stream);
}

void add_mean_gradient(const MeanLoss& loss, double factor, Buffer& sum) {
  for_each_piece(loss, [&](double share) {
    loss.network.forward(loss.mode);
    loss.network.backward();
    add_gradient(loss.network, factor * share, sum);
  });
}

std::unique_ptr<Network> in_full_precision(Network& network) {
  const kernels::Backend& backend = network.parameters().backend();
  if (backend.full_precision == nullptr || backend.full_precision == &backend) return nullptr;
  return network.rebuild(*backend.full_precision, network.max_batch());
}

}  // namespace sculpt
