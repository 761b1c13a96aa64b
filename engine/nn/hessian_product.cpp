#include "engine/nn/hessian_product.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <limits>
#include <memory>
#include <utility>

#include "engine/core/error.h"

namespace sculpt {

namespace {

double norm(const Buffer& values, const kernels::Backend& backend) {
  Buffer workspace(backend.pruning.workspace_bytes(), "pruning scores", backend.memory);
  const auto count = static_cast<int64_t>(values.bytes() / sizeof(double));
  return backend.pruning.norm(values.as<double>(), count, workspace.data(), backend.stream);
}

/// The prunable weights, which can be moved along a direction and returned to their origin.
class WeightLine {
 public:
  explicit WeightLine(ParameterArena& parameters)
      : parameters_(parameters), origin_(zeroed_scores(parameters)) {
    const kernels::Backend& backend = parameters.backend();
    parameters.store_dense();
    backend.pruning.gather(origin_.as<double>(), parameters.weight_array(),
                           parameters.prunable_runs(), backend.stream);
  }
  ~WeightLine() {
    try {
      if (away_) return_to_origin();
    } catch (const Error&) {  // the error in flight is more important
    }
  }
  WeightLine(const WeightLine&) = delete;
  WeightLine& operator=(const WeightLine&) = delete;

  /// Sets the weights to origin + distance * direction.
  void move(const Buffer& direction, double distance) { write(origin_, direction, distance); }
  /// Restores the original weights with exactly the same bits.
  void return_to_origin() {
    write(origin_, origin_, 0);
    away_ = false;
  }

  /// Returns the direction rounded to the type of the weights, and zero where masked. The weights'
  /// memory is used as temporary space.
  Buffer masked(const Buffer& direction) {
    Buffer result = zeroed_scores(parameters_);
    const kernels::Backend& backend = parameters_.backend();
    write(direction, direction, 0);
    backend.pruning.add_scaled(result.as<double>(), 1, parameters_.weight_array(),
                               parameters_.mask_array(), parameters_.prunable_runs(),
                               backend.stream);
    return_to_origin();
    return result;
  }
  const Buffer& origin() const { return origin_; }

 private:
  void write(const Buffer& from, const Buffer& direction, double distance) {
    away_ = true;
    const kernels::Backend& backend = parameters_.backend();
    parameters_.store_dense();
    backend.pruning.move(parameters_.edit_weight_array(), from.as<double>(), direction.as<double>(),
                         distance, parameters_.prunable_runs(), backend.stream);
  }

  ParameterArena& parameters_;
  Buffer origin_;
  bool away_ = false;
};

/// Releases the held patterns of a graph when it goes out of scope. Until then, batch norm's gamma
/// and beta, which are constants here, get no gradients where that saves time.
class HeldPatterns {
 public:
  explicit HeldPatterns(Graph& graph) : graph_(graph) { graph_.settings().norm_gradients = false; }
  ~HeldPatterns() {
    graph_.settings().norm_gradients = norm_gradients_;
    graph_.release_patterns();
  }
  HeldPatterns(const HeldPatterns&) = delete;
  HeldPatterns& operator=(const HeldPatterns&) = delete;

  void record() { graph_.record_patterns(); }
  void hold() { graph_.hold_patterns(); }

 private:
  Graph& graph_;
  const bool norm_gradients_ = graph_.settings().norm_gradients;
};

/// The longest step moves the weights by this fraction of their norm. If curvature changed on the
/// scale of the weights, this step would balance two errors: the truncation error, which grows with
/// the square of the step, and the rounding error of gradients, which grows with its inverse.
double longest_step(const ParameterArena& parameters) {
  return std::cbrt(parameters.element_bytes() == sizeof(double)
                       ? std::numeric_limits<double>::epsilon()
                       : static_cast<double>(std::numeric_limits<float>::epsilon()));
}

/// Difference quotients of the gradient of one piece, whose activation patterns are held.
class Quotients {
 public:
  Quotients(const MeanLoss& loss, WeightLine& line, const Buffer& direction)
      : loss_(loss), line_(line), direction_(direction) {}

  /// A buffer to which add() adds the quotient multiplied by a factor.
  struct Sum {
    double factor;
    Buffer& sum;
  };
  /// Adds the quotient of step h to all of `sums`.
  void add(double h, std::initializer_list<Sum> sums) {
    for (const double side : {h, -h}) {
      line_.move(direction_, side);
      loss_.network.forward(loss_.mode);
      loss_.network.backward();
      for (const Sum& to : sums)
        add_gradient(loss_.network, to.factor / (2 * side), to.sum);
    }
    line_.return_to_origin();
  }

  /// Finds the step: shortens `h` until the quotient no longer changes. Returns the quotient
  /// multiplied by `share`. The search is needed because the best steps of two networks, or of two
  /// directions, differ by factors of up to a thousand: batch norm over few values is strongly
  /// curved.
  Buffer find_step(double& h, double share) {
    constexpr double kShorter = 0.25;
    constexpr double kSame = 1e-3;        // relative change that is good enough
    constexpr double kSettled = 0.1;      // changes below this that grow again are rounding errors
    constexpr int kMostShortenings = 10;  // shortens by a factor of 1e-6 in total
    const ParameterArena& parameters = loss_.network.parameters();
    const kernels::Backend& backend = parameters.backend();
    Buffer quotient = zeroed_scores(parameters), change = zeroed_scores(parameters);
    add(h, {{share, quotient}, {share, change}});
    double last = std::numeric_limits<double>::infinity();
    for (int i = 0; i < kMostShortenings; ++i) {
      Buffer next = zeroed_scores(parameters), next_change = zeroed_scores(parameters);
      add(kShorter * h, {{share, next}, {-share, change}, {share, next_change}});
      const double size = norm(next, backend), moved = norm(change, backend);
      const double relative = moved > 0 ? moved / size : 0;
      if (relative >= last && last < kSettled) return quotient;
      h *= kShorter;
      quotient = std::move(next);
      change = std::move(next_change);
      if (relative <= kSame) return quotient;
      last = relative;
    }
    return quotient;
  }

 private:
  const MeanLoss& loss_;
  WeightLine& line_;
  const Buffer& direction_;
};

/// The product with one direction, which grows piece by piece.
class Product {
 public:
  Product(const MeanLoss& loss, WeightLine& line, const Buffer& direction)
      : masked_(checked(loss, line, direction)),
        sum_(zeroed_scores(loss.network.parameters())),
        quotients_(std::make_unique<Quotients>(loss, line, *masked_)) {
    const ParameterArena& parameters = loss.network.parameters();
    const kernels::Backend& backend = parameters.backend();
    const double weight_norm = norm(line.origin(), backend);
    const double length = norm(*masked_, backend);
    if (length == 0) return;
    if (!(weight_norm > 0) || !std::isfinite(weight_norm) || !std::isfinite(length))
      fail(
          "cannot multiply by the Hessian: the norm of the weights is {} and that of the direction "
          "{}; start from other weights, or use another criterion",
          weight_norm, length);
    step_ = longest_step(parameters) * weight_norm / length;
  }

  bool is_zero() const { return step_ == 0; }

  /// Adds the part of the piece that is loaded and whose patterns are held. The first piece finds
  /// the step.
  void add_piece(double share) {
    if (is_zero()) return;
    if (std::exchange(first_, false))
      sum_ = quotients_->find_step(step_, share);
    else
      quotients_->add(step_, {{share, sum_}});
  }

  /// Returns the sum over all pieces.
  Buffer take(const ParameterArena& parameters) {
    const kernels::Backend& backend = parameters.backend();
    Buffer workspace(backend.pruning.workspace_bytes(), "pruning scores", backend.memory);
    if (backend.pruning.first_not_finite(sum_.as<double>(), parameters.prunable_count(),
                                         workspace.data(), backend.stream) >= 0)
      fail(
          "cannot multiply by the Hessian: a gradient is not finite; start from other weights, or "
          "use another criterion");
    return std::move(sum_);
  }

 private:
  static std::unique_ptr<Buffer> checked(const MeanLoss& loss, WeightLine& line,
                                         const Buffer& direction) {
    const int64_t count = loss.network.parameters().prunable_count();
    SCULPT_CHECK(direction.bytes() == static_cast<size_t>(count) * sizeof(double),
                 "a direction of {} bytes for {} prunable weights", direction.bytes(), count);
    return std::make_unique<Buffer>(line.masked(direction));
  }

  std::unique_ptr<Buffer> masked_;  // its address does not change
  Buffer sum_;
  std::unique_ptr<Quotients> quotients_;
  double step_ = 0;
  bool first_ = true;
};

}  // namespace

std::vector<Buffer> hessian_products(const MeanLoss& loss, std::span<const Buffer> directions) {
  if (const auto copy = in_full_precision(loss.network))
    return hessian_products({*copy, loss.batches, loss.batch, loss.normalization, loss.mode},
                            directions);
  Network& network = loss.network;
  ParameterArena& parameters = network.parameters();
  WeightLine line(parameters);
  std::vector<Product> products;
  for (const Buffer& direction : directions)
    products.emplace_back(loss, line, direction);
  const auto is_zero = [](const Product& product) { return product.is_zero(); };
  if (!std::ranges::all_of(products, is_zero)) {
    HeldPatterns patterns(network.graph());
    for_each_piece(loss, [&](double share) {
      patterns.record();
      network.forward(loss.mode);
      patterns.hold();
      for (Product& product : products)
        product.add_piece(share);
    });
  }
  std::vector<Buffer> results;
  for (Product& product : products)
    results.push_back(product.take(parameters));
  return results;
}

Buffer hessian_product(const MeanLoss& loss, const Buffer& direction) {
  return std::move(hessian_products(loss, std::span(&direction, 1)).front());
}

}  // namespace sculpt
