#include "engine/analyze/hessian.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/analyze/vectors.h"
#include "engine/core/error.h"
#include "engine/core/phase.h"
#include "engine/core/random.h"
#include "engine/nn/hessian_product.h"

namespace sculpt {
namespace {

/// Probes that are multiplied together may hold so many bytes of vectors.
constexpr int64_t kGroupBytes = int64_t{256} << 20;
constexpr int64_t kMostInGroup = 8;

std::vector<int64_t> kept_positions(const ParameterArena& parameters) {
  std::vector<int64_t> kept;
  int64_t position = 0;
  for (const Parameter& p : parameters.parameters()) {
    if (!p.prunable) continue;
    for (const uint8_t bit : ParameterArena::slice(parameters.masks(), p)) {
      if (bit != 0) kept.push_back(position);
      ++position;
    }
  }
  return kept;
}

void copy_in(Buffer& to, const std::vector<double>& values, const kernels::Backend& backend) {
  if (backend.memory != nullptr)
    backend.memory->copy_in(to.data(), values.data(), to.bytes());
  else
    std::memcpy(to.data(), values.data(), to.bytes());
}

void copy_out(std::vector<double>& values, const Buffer& from, const kernels::Backend& backend) {
  if (backend.memory != nullptr)
    backend.memory->copy_out(values.data(), from.data(), from.bytes());
  else
    std::memcpy(values.data(), from.data(), from.bytes());
}

/// Returns a random vector of +1 and -1.
Vector random_signs(int64_t size, uint64_t seed, int64_t number) {
  const RandomStream random(seed, Purpose::hessian_probe, static_cast<uint64_t>(number));
  Vector signs(static_cast<size_t>(size));
  for (size_t i = 0; i < signs.size(); ++i)
    signs[i] = (random.word(i) >> 31) != 0 ? 1 : -1;
  return signs;
}

}  // namespace

KeptHessian::KeptHessian(const MeanLoss& loss)
    : copy_(in_full_precision(loss.network)),
      loss_{copy_ ? *copy_ : loss.network, loss.batches, loss.batch, loss.normalization, loss.mode},
      kept_(kept_positions(loss.network.parameters())) {
  if (kept_.empty()) fail("the Hessian has no rows, because the masks keep no weight");
}

Vector KeptHessian::multiply(const Vector& vector) const {
  return std::move(multiply(std::span(&vector, 1)).front());
}

std::vector<Vector> KeptHessian::multiply(std::span<const Vector> vectors) const {
  const ParameterArena& parameters = loss_.network.parameters();
  const kernels::Backend& backend = parameters.backend();
  std::vector<double> whole(static_cast<size_t>(parameters.prunable_count()));
  std::vector<Buffer> directions;
  for (const Vector& vector : vectors) {
    SCULPT_CHECK(vector.size() == kept_.size(), "a vector of {} for {} kept weights", vector.size(),
                 kept_.size());
    for (size_t k = 0; k < kept_.size(); ++k)
      whole[static_cast<size_t>(kept_[k])] = vector[k];
    directions.push_back(zeroed_scores(parameters));
    copy_in(directions.back(), whole, backend);
  }
  std::vector<Vector> results;
  for (const Buffer& product : hessian_products(loss_, directions)) {
    copy_out(whole, product, backend);
    Vector& result = results.emplace_back(kept_.size());
    for (size_t k = 0; k < kept_.size(); ++k)
      result[k] = whole[static_cast<size_t>(kept_[k])];
  }
  return results;
}

TopEigenvalues largest_eigenvalues(const KeptHessian& hessian, uint64_t seed,
                                   const LanczosOptions& options) {
  const RandomStream random(seed, Purpose::hessian_start);
  Vector start(static_cast<size_t>(hessian.size()));
  for (size_t i = 0; i < start.size(); ++i)
    start[i] = double{random.normal(i)};

  // The iteration mostly ends long before the most products that it may take.
  Phase phase("products with the Hessian, at most", options.most_products);
  const LanczosResult found = largest_by_lanczos(
      [&](const Vector& vector) {
        phase.advance();
        return hessian.multiply(vector);
      },
      std::move(start), options);

  TopEigenvalues result;
  result.smallest_ritz = found.smallest;
  result.iterations = found.products;
  result.converged = found.converged;
  std::vector<Vector> products = hessian.multiply(found.vectors);
  for (size_t i = 0; i < products.size(); ++i) {
    const double quotient = dot(found.vectors[i], products[i]);
    add_scaled(products[i], -quotient, found.vectors[i]);
    result.largest.push_back({quotient, norm(products[i])});
  }
  return result;
}

TraceEstimate estimate_trace(const KeptHessian& hessian, uint64_t seed, int probes) {
  SCULPT_CHECK(probes >= 2, "{} probes have no standard error", probes);
  const auto bytes = hessian.size() * static_cast<int64_t>(4 * sizeof(double));
  const int64_t group = std::clamp<int64_t>(kGroupBytes / bytes, 1, kMostInGroup);
  Phase phase("probes of the Hessian's trace", probes);
  std::vector<double> values;
  for (int64_t first = 0; first < probes; first += group) {
    std::vector<Vector> signs;
    for (int64_t number = first; number < std::min<int64_t>(first + group, probes); ++number)
      signs.push_back(random_signs(hessian.size(), seed, number));
    const std::vector<Vector> products = hessian.multiply(signs);
    for (size_t i = 0; i < signs.size(); ++i)
      values.push_back(dot(signs[i], products[i]));
    phase.advance(std::ssize(signs));
  }
  TraceEstimate estimate{.probes = probes};
  for (const double value : values)
    estimate.trace += value / probes;
  double squares = 0;
  for (const double value : values)
    squares += (value - estimate.trace) * (value - estimate.trace);
  estimate.standard_error = std::sqrt(squares / (probes - 1) / probes);
  return estimate;
}

}  // namespace sculpt
