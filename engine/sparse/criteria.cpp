#include "engine/sparse/criteria.h"

#include <array>
#include <string>
#include <vector>

#include "engine/core/error.h"
#include "engine/core/registry.h"

namespace sculpt {

namespace {

constexpr std::string_view kReadForData = "prune.score_images_per_class prune.score_batches";

constexpr auto kCriteria = std::to_array<Criterion>({
    {"magnitude", score_magnitude, false, "abs(w)", ""},
    {"random", score_random, false, "uniform random, from the seed", ""},
    {"snip", score_snip, true, "abs(w * gradient) (Lee et al. 2019)", kReadForData},
    {"grasp", score_grasp, true, "w * (Hessian * gradient) (Wang et al. 2020)", kReadForData},
    {"synflow", score_synflow, false, "synaptic flow, iterative, without data (Tanaka et al. 2020)",
     "prune.synflow_iterations"},
});

}  // namespace

std::span<const Criterion> criteria() {
  return kCriteria;
}

std::vector<std::string> criterion_names() {
  return names_of(kCriteria);
}

const Criterion& find_criterion(std::string_view name) {
  return find_row(kCriteria, name, "criterion");
}

MeanLoss mean_loss(const ScoreContext& context, Network& network) {
  SCULPT_CHECK(context.score_batch, "a criterion needs data, but there is no score_batch");
  return {network, context.options.score_batches, context.score_batch, context.normalization};
}

}  // namespace sculpt
