#include "engine/sparse/criteria.h"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "engine/core/error.h"

namespace sculpt {

namespace {

constexpr auto kCriteria = std::to_array<Criterion>({
    {"magnitude", score_magnitude, false, "abs(w)"},
    {"random", score_random, false, "uniform random, from the seed"},
    {"snip", score_snip, true, "abs(w * gradient) (Lee et al. 2019)"},
    {"grasp", score_grasp, true, "w * (Hessian * gradient) (Wang et al. 2020)"},
    {"synflow", score_synflow, false,
     "synaptic flow, iterative, without data (Tanaka et al. 2020)"},
});

/// Puts the batch-norm state back when it goes out of scope.
template <class T>
class KeepState {
 public:
  explicit KeepState(ParameterArena& parameters)
      : parameters_(parameters), batches_(parameters.batches_tracked) {
    const auto state = parameters.state_values<T>();
    values_.assign(state.begin(), state.end());
  }
  ~KeepState() {
    std::ranges::copy(values_, parameters_.state_values<T>().begin());
    parameters_.batches_tracked = batches_;
  }
  KeepState(const KeepState&) = delete;
  KeepState& operator=(const KeepState&) = delete;

 private:
  ParameterArena& parameters_;
  int64_t batches_;
  std::vector<T> values_;
};

template <class T>
void add_mean_gradient_as(const ScoreContext& context, double factor, Buffer& sum) {
  Network& network = context.network;
  ParameterArena& parameters = network.parameters();
  const kernels::Backend& backend = parameters.backend();
  const KeepState<T> keep(parameters);
  const int64_t image = network.spec().image.count();
  const auto batches = static_cast<double>(context.options.score_batches);
  for (int64_t index = 0; index < context.options.score_batches; ++index) {
    const Batch batch = context.score_batch(index);
    if (batch.count <= 0) fail("score batch {} is empty; check the training set", index);
    for (int64_t first = 0; first < batch.count; first += network.max_batch()) {
      const int64_t count = std::min(network.max_batch(), batch.count - first);
      network.load({batch.images + first * image, batch.labels + first, count},
                   context.normalization);
      network.forward(Mode::train);
      network.backward();
      const double weight = static_cast<double>(count) / static_cast<double>(batch.count);
      backend.pruning.add_scaled(sum.as<double>(), factor * (weight / batches),
                                 parameters.gradient_array(), parameters.mask_array(),
                                 parameters.prunable_runs(), backend.stream);
    }
  }
}

}  // namespace

std::span<const Criterion> criteria() {
  return kCriteria;
}

std::vector<std::string> criterion_names() {
  std::vector<std::string> names;
  for (const auto& row : kCriteria)
    names.emplace_back(row.name);
  return names;
}

const Criterion& find_criterion(std::string_view name) {
  for (const auto& row : kCriteria)
    if (row.name == name) return row;
  fail("there is no criterion '{}'; known: {}", name, fmt::join(criterion_names(), ", "));
}

Buffer zeroed_scores(const ParameterArena& parameters) {
  return {static_cast<size_t>(parameters.prunable_count()) * sizeof(double), "pruning scores",
          parameters.backend().memory};
}

void add_mean_gradient(const ScoreContext& context, double factor, Buffer& sum) {
  SCULPT_CHECK(context.score_batch, "a criterion needs data, but there is no score_batch");
  if (context.network.parameters().element_bytes() == sizeof(double))
    add_mean_gradient_as<double>(context, factor, sum);
  else
    add_mean_gradient_as<float>(context, factor, sum);
}

}  // namespace sculpt
