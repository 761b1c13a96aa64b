#include "engine/sparse/criteria.h"

#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <numeric>
#include <string>

#include "engine/core/error.h"
#include "engine/sparse/prune.h"
#include "kernels/device/backend.h"
#include "tests/support/comparison.h"
#include "tests/support/scored_networks.h"
#include "tests/support/tested_backends.h"

using namespace sculpt;
using namespace sculpt::testing;

namespace {

constexpr int64_t kMaxBatch = 4;

std::vector<double> scores_of(const char* criterion, const ScoreContext& context,
                              PruneStep step = {"", "global", 0.5}) {
  step.criterion = criterion;
  ParameterArena& parameters = context.network.parameters();
  KeptWeights kept(parameters);
  const ScoreResult result = find_criterion(criterion).score(context, step, kept);
  const auto& [values, element_bytes] = result.scores;
  if (element_bytes == sizeof(double)) return on_host(values, parameters.backend());
  const auto floats = on_host<float>(values, parameters.backend());
  return {floats.begin(), floats.end()};
}

/// Arena indices of the prunable weights.
std::vector<size_t> prunable_indices(const ParameterArena& arena) {
  std::vector<size_t> indices;
  for (const Parameter& p : arena.parameters())
    if (p.prunable)
      for (int64_t i = 0; i < p.count; ++i)
        indices.push_back(static_cast<size_t>(p.offset + i));
  return indices;
}

/// Computes the loss whose gradient the criteria use: the mean over batches of the mean over
/// images. Each batch runs in even pieces of at most kMaxBatch images, and batch norm uses the
/// statistics of a piece.
double score_loss(Network& network, RandomBatches& batches) {
  double loss = 0;
  for (int64_t index = 0; index < 2; ++index) {
    const Batch batch = batches(index);
    const int64_t pieces = (batch.count + kMaxBatch - 1) / kMaxBatch;
    for (int64_t piece = 0; piece < pieces; ++piece) {
      const int64_t first = batch.count * piece / pieces;
      const int64_t count = batch.count * (piece + 1) / pieces - first;
      network.load(
          {batch.images + first * network.spec().image.count(), batch.labels + first, count},
          batches.normalization);
      loss += network.forward(Mode::train).loss / static_cast<double>(2 * batch.count);
    }
  }
  return loss;
}

/// Masks a third of the weights.
void mask_some(ParameterArena& arena, uint64_t seed) {
  const RandomStream random(seed, Purpose::test, 77);
  arena.edit_masks([&](std::span<uint8_t> masks) {
    for (const size_t i : prunable_indices(arena))
      if (random.below(i, 3) == 0) masks[i] = 0;
  });
}

}  // namespace

TEST_CASE("criteria: snip is abs(w * gradient) by finite differences of the loss") {
  Network network(four_layer_spec(), kernels::reference_backend(), kMaxBatch);
  network.initialise(11);
  ParameterArena& arena = network.parameters();
  mask_some(arena, 11);
  RandomBatches batches(network.spec(), 6, 11);
  const auto scores = scores_of("snip", context_for(network, batches, 11));

  std::vector<double> expected, actual;
  const auto indices = prunable_indices(arena);
  for (size_t k = 0; k < indices.size(); ++k) {
    if (!arena.masks()[indices[k]]) continue;
    double& w = arena.edit_weights<double>()[indices[k]];
    const double origin = w, h = 1e-6;
    w = origin + h;
    const double ahead = score_loss(network, batches);
    w = origin - h;
    const double behind = score_loss(network, batches);
    w = origin;
    expected.push_back(std::abs(origin * (ahead - behind) / (2 * h)));
    actual.push_back(scores[k]);
  }
  CHECK(expected.size() > 200);
  CHECK(relative_error(actual, expected) < 1e-6);
}

TEST_CASE("criteria: grasp is w * gradient of |g|^2 / 2, which is w * H g") {
  const OneThread one_thread;
  Network network(four_layer_spec(), kernels::reference_backend(), kMaxBatch);
  network.initialise(12);
  ParameterArena& arena = network.parameters();
  mask_some(arena, 12);
  RandomBatches batches(network.spec(), 6, 12);
  const ScoreContext context = context_for(network, batches, 12);
  const auto scores = scores_of("grasp", context);

  const auto half_squared_norm = [&] {
    const auto g = mean_gradient(context);
    return std::inner_product(g.begin(), g.end(), g.begin(), 0.0) / 2;
  };
  std::vector<double> expected, actual;
  const auto indices = prunable_indices(arena);
  for (size_t k = 0; k < indices.size(); ++k) {
    if (!arena.masks()[indices[k]]) continue;
    double& w = arena.edit_weights<double>()[indices[k]];
    const double origin = w, h = 1e-6;
    w = origin + h;
    const double ahead = half_squared_norm();
    w = origin - h;
    const double behind = half_squared_norm();
    w = origin;
    expected.push_back(origin * (ahead - behind) / (2 * h));
    actual.push_back(scores[k]);
  }
  CHECK(relative_error(actual, expected) < 1e-5);
}

TEST_CASE("criteria: grasp in float agrees with grasp in double") {
  // The step of float is a thousand times longer, and many ReLUs change sides within it.
  NetworkSpec spec = four_layer_spec();
  spec.model = [](Builder& b, Value x) {
    x = b.batch_norm("bn1", b.conv("conv1", x, 9), {.relu = true});
    const Value shortcut = b.conv("shortcut", x, 9, {.kernel = 1});
    x = b.batch_norm("bn2", b.conv("conv2", x, 9), {.relu = true, .residual = shortcut});
    x = b.relu(b.conv("conv3", b.max_pool(x, 3, 2), 7));
    return b.linear("fc", b.flatten(x), 3);
  };
  Network network(spec, kernels::reference_backend(), kMaxBatch);
  network.initialise(12);
  mask_some(network.parameters(), 12);
  RandomBatches batches(spec, 6, 12);
  const auto expected = scores_of("grasp", context_for(network, batches, 12));
  for (const kernels::Backend* backend : test::tested_backends()) {
    CAPTURE(backend->name);
    const auto small = network.rebuild(*backend, kMaxBatch);
    CHECK(relative_error(scores_of("grasp", context_for(*small, batches, 12)), expected) < 0.01);
  }
}

TEST_CASE("criteria: snip and grasp keep the same weights whatever the dropout") {
  for (const char* criterion : {"snip", "grasp"}) {
    CAPTURE(criterion);
    std::vector<std::vector<uint8_t>> masks;
    for (const float rate : {0.0f, 0.9f}) {
      NetworkSpec spec = four_layer_spec();
      spec.model = [rate](Builder& b, Value x) {
        x = b.relu(b.linear("fc1", b.flatten(x), 40));
        x = b.dropout(x, rate);
        return b.linear("fc2", b.relu(b.linear("fc3", x, 20)), 3);
      };
      Network network(spec, *test::tested_backends().front(), kMaxBatch);
      network.initialise(21);
      RandomBatches batches(spec, 6, 21);
      prune(context_for(network, batches, 21), {criterion, "global", 0.3});
      masks.push_back(prunable_mask(network.parameters()));
      CHECK(network.graph().settings().dropout);  // training drops again
    }
    CHECK(masks[0] == masks[1]);
  }
}

TEST_CASE("criteria: snip in float agrees with snip in double") {
  Network network(four_layer_spec(), kernels::reference_backend(), kMaxBatch);
  network.initialise(13);
  RandomBatches batches(network.spec(), 6, 13);
  const auto expected = scores_of("snip", context_for(network, batches, 13));
  for (const kernels::Backend* backend : test::tested_backends()) {
    CAPTURE(backend->name);
    const auto small = network.rebuild(*backend, kMaxBatch);
    CHECK(relative_error(scores_of("snip", context_for(*small, batches, 13)), expected) < 1e-4);
  }
}

TEST_CASE("criteria: one synflow score is R - R without the weight") {
  Network network(four_layer_spec(), *test::tested_backends().front(), kMaxBatch);
  network.initialise(14);
  // Biases and batch norm that are not 0 and 1, so that their absolute values matter.
  const RandomStream random(14, Purpose::test);
  for (const Parameter& p : network.parameters().parameters())
    if (!p.prunable)
      for (int64_t i = p.offset; i < p.offset + p.count; ++i)
        network.parameters().edit_weights()[static_cast<size_t>(i)] =
            random.normal(static_cast<uint64_t>(i));
  mask_some(network.parameters(), 14);
  RandomBatches batches(network.spec(), 6, 14);
  ScoreContext context = context_for(network, batches, 14);
  context.options.synflow_iterations = 1;
  const auto scores = scores_of("synflow", context);

  // R is linear in each single weight: no absolute value flips and no ReLU closes.
  const auto copy = network.rebuild(kernels::reference_backend(), 1);
  const auto weights = copy->parameters().edit_weights<double>();
  for (double& w : weights)
    w = std::abs(w);
  const std::vector<float> ones(static_cast<size_t>(network.spec().image.count()), 1.0f);
  const auto flow = [&] {
    copy->load_values(ones.data(), 1);
    copy->forward(Mode::eval);
    const auto logits = copy->logits();
    return std::accumulate(logits.begin(), logits.end(), 0.0);
  };
  const double total = flow();
  double worst = 0;
  const auto indices = prunable_indices(copy->parameters());
  for (size_t k = 0; k < indices.size(); ++k) {
    const double w = weights[indices[k]];
    weights[indices[k]] = 0;
    worst = std::max(worst, std::abs(total - flow() - scores[k]));
    weights[indices[k]] = w;
  }
  CHECK(*std::ranges::max_element(scores) > 0.01 * total);
  CHECK(worst < 1e-6 * total);  // logits are read back as floats
}

namespace {

/// Iterative SynFlow of a network of three bias-free linear layers, as matrix products in double.
std::vector<uint8_t> naive_synflow(const std::vector<double>& weights,
                                   const std::vector<int64_t>& sizes, double density) {
  const size_t n = weights.size();
  std::vector<uint8_t> mask(n, 1);
  for (int k = 1; k <= 100; ++k) {
    // up[l][i]: signal into unit i of layer l; down[l][i]: derivative of R by it.
    std::vector<std::vector<double>> up, down(sizes.size());
    up.emplace_back(static_cast<size_t>(sizes[0]), 1.0);
    std::vector<size_t> first = {0};
    for (size_t l = 0; l + 1 < sizes.size(); ++l) {
      const auto in = static_cast<size_t>(sizes[l]), out = static_cast<size_t>(sizes[l + 1]);
      up.emplace_back(out, 0.0);
      for (size_t o = 0; o < out; ++o)
        for (size_t i = 0; i < in; ++i)
          up[l + 1][o] +=
              mask[first[l] + o * in + i] * std::abs(weights[first[l] + o * in + i]) * up[l][i];
      first.push_back(first[l] + in * out);
    }
    down.back().assign(static_cast<size_t>(sizes.back()), 1.0);
    std::vector<double> score(n);
    for (size_t l = sizes.size() - 1; l-- > 0;) {
      const auto in = static_cast<size_t>(sizes[l]), out = static_cast<size_t>(sizes[l + 1]);
      down[l].assign(in, 0.0);
      for (size_t o = 0; o < out; ++o)
        for (size_t i = 0; i < in; ++i) {
          const size_t at = first[l] + o * in + i;
          const double w = mask[at] * std::abs(weights[at]);
          score[at] = w * up[l][i] * down[l + 1][o];
          down[l][i] += w * down[l + 1][o];
        }
    }
    std::vector<size_t> order;
    for (size_t i = 0; i < n; ++i)
      if (mask[i]) order.push_back(i);
    std::ranges::stable_sort(order, std::greater<>(), [&](size_t i) { return score[i]; });
    std::ranges::fill(mask, uint8_t{0});
    const auto kept = std::lround(std::pow(density, k / 100.0) * static_cast<double>(n));
    for (size_t i = 0; i < static_cast<size_t>(kept); ++i)
      mask[order[i]] = 1;
  }
  return mask;
}

}  // namespace

TEST_CASE("criteria: iterative synflow keeps the weights that plain matrix products keep") {
  const std::vector<int64_t> sizes = {13, 31, 17, 5};
  Network network(mlp_spec(sizes), *test::tested_backends().front(), 1);
  RandomBatches batches(network.spec(), 6, 15);
  for (const double density : {0.5, 0.1, 0.02}) {
    CAPTURE(density);
    network.initialise(15);
    const std::vector<double> weights(network.parameters().weights().begin(),
                                      network.parameters().weights().end());
    const auto expected = naive_synflow(weights, sizes, density);
    const auto report = prune(context_for(network, batches, 15), {"synflow", "global", density});
    CHECK(std::ranges::equal(prunable_mask(network.parameters()), expected));
    CHECK(report.warnings.empty());  // no layer collapses
  }
}

TEST_CASE("criteria: synflow stays finite in 110 layers, and says where it does not") {
  NetworkSpec spec;
  spec.image = {.channels = 3, .height = 4, .width = 4};
  spec.classes = 10;
  spec.model = [](Builder& b, Value x) {
    x = b.batch_norm("bn", b.conv("conv", x, 8), {.relu = true});
    for (int i = 0; i < 54; ++i) {
      const Builder::Scope scope(b, "block" + std::to_string(i));
      Value y = b.batch_norm("bn1", b.conv("conv1", x, 8), {.relu = true});
      x = b.batch_norm("bn2", b.conv("conv2", y, 8), {.relu = true, .residual = x});
    }
    return b.linear("fc", b.flatten(b.global_average_pool(x)), 10);
  };
  Network network(spec, *test::tested_backends().front(), 1);
  network.initialise(16);
  RandomBatches batches(spec, 6, 16);
  ScoreContext context = context_for(network, batches, 16);
  context.options.synflow_iterations = 3;
  const auto report = prune(context, {"synflow", "global", 0.1});
  CHECK(report.kept == kept_for_density(0.1, report.prunable));

  network.initialise(16);
  for (float& w : network.parameters().edit_weights())
    w *= 1e4f;
  CHECK_THROWS_WITH_AS(prune(context, {"synflow", "global", 0.1}),
                       doctest::Contains("of 'conv.weight' is"), Error);
  CHECK(network.parameters().kept_count() == network.parameters().prunable_count());
}

TEST_CASE("criteria: random scores depend on the seed and the index alone") {
  Network network(four_layer_spec(), *test::tested_backends().front(), kMaxBatch);
  network.initialise(17);
  RandomBatches batches(network.spec(), 6, 17);
  const auto a = scores_of("random", context_for(network, batches, 1));
  network.initialise(18);
  CHECK(scores_of("random", context_for(network, batches, 1)) == a);
  CHECK(scores_of("random", context_for(network, batches, 2)) != a);
  const double mean = std::accumulate(a.begin(), a.end(), 0.0) / static_cast<double>(a.size());
  CHECK(mean == doctest::Approx(0.5).epsilon(0.15));
  CHECK(*std::ranges::min_element(a) >= 0);
  CHECK(*std::ranges::max_element(a) < 1);
}

TEST_CASE("criteria: no criterion leaves a trace in the network") {
  const OneThread one_thread;
  for (const kernels::Backend* backend :
       {&kernels::reference_backend(), test::tested_backends().front()})
    for (const Criterion& criterion : criteria()) {
      CAPTURE(criterion.name);
      Network network(four_layer_spec(), *backend, kMaxBatch);
      network.initialise(19);
      ParameterArena& arena = network.parameters();
      mask_some(arena, 19);
      arena.batches_tracked = 7;
      const auto snapshot = [&] {
        const auto copy = network.rebuild(kernels::reference_backend(), 1);
        ParameterArena& p = copy->parameters();
        std::vector<double> all(p.weights<double>().begin(), p.weights<double>().end());
        all.insert(all.end(), p.momentum<double>().begin(), p.momentum<double>().end());
        all.insert(all.end(), p.state_values<double>().begin(), p.state_values<double>().end());
        all.insert(all.end(), p.masks().begin(), p.masks().end());
        all.push_back(static_cast<double>(p.batches_tracked));
        return all;
      };
      const auto before = snapshot();
      RandomBatches batches(network.spec(), 6, 19);
      ScoreContext context = context_for(network, batches, 19);
      context.options.synflow_iterations = 4;
      const auto scores = scores_of(std::string(criterion.name).c_str(), context);
      CHECK(std::ssize(scores) == arena.prunable_count());
      CHECK(snapshot() == before);
    }
}

TEST_CASE("criteria: a criterion that needs data says so") {
  const OneThread one_thread;
  Network network(four_layer_spec(), *test::tested_backends().front(), kMaxBatch);
  network.initialise(20);
  ScoreContext context{.network = network, .seed = 1, .options = {}};
  context.options.synflow_iterations = 4;
  for (const Criterion& criterion : criteria()) {
    CAPTURE(criterion.name);
    const PruneStep step{std::string(criterion.name), "global", 0.5};
    if (criterion.needs_data)
      CHECK_THROWS_WITH_AS(prune(context, step), doctest::Contains("score_batch"), Error);
    else
      CHECK_NOTHROW(prune(context, step));
  }
  CHECK_THROWS_WITH_AS(find_criterion("magnitud"), doctest::Contains("synflow"), Error);
}

TEST_CASE(
    "criteria: no piece of a score batch is left with one image, which batch norm cannot take") {
  NetworkSpec spec;
  spec.image = {3, 4, 4};
  spec.classes = 3;
  spec.model = [](Builder& b, Value x) {
    x = b.batch_norm("bn", b.conv("conv", b.global_average_pool(x), 5, {.kernel = 1, .padding = 0}),
                     {.relu = true});
    return b.linear("fc", x, 3);
  };
  for (const kernels::Backend* backend : test::tested_backends()) {
    Network network(spec, *backend, kMaxBatch);
    network.initialise(3);
    const RandomStream random(8, Purpose::test);
    std::vector<uint8_t> pixels;
    std::vector<int32_t> labels;
    for (int64_t i = 0; i < kMaxBatch + 1; ++i) {
      labels.push_back(static_cast<int32_t>(i % 3));
      for (int64_t p = 0; p < spec.image.count(); ++p)
        pixels.push_back(static_cast<uint8_t>(random.word(pixels.size())));
    }
    const ScoreContext context{network,
                               1,
                               {},
                               [&](int64_t) {
                                 return Batch{pixels.data(), labels.data(), 5};
                               },
                               {{0.5f, 0.5f, 0.5f}, {0.25f, 0.25f, 0.25f}}};
    double sum = 0;
    for (const double score : scores_of("snip", context))
      sum += score;
    CHECK(sum > 0);
  }
}
