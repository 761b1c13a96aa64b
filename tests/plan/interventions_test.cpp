// The actions of interventions against plain loops written from their definitions.

#include <algorithm>
#include <cmath>
#include <doctest/doctest.h>
#include <map>

#include "engine/core/error.h"
#include "engine/core/random.h"
#include "engine/plan/plan.h"
#include "engine/plan/verbs/verbs.h"
#include "tests/support/tiny_run.h"

using namespace sculpt;
using namespace sculpt::testing;

namespace {

constexpr uint64_t kSeed = 12;

/// The values that a network holds.
struct Content {
  std::vector<double> weights, states;
  std::vector<uint8_t> masks;
  int64_t batches_tracked = 0;
};

template <class T>
Content content_of_elements(const ParameterArena& arena) {
  const auto weights = arena.weights<T>(), states = arena.state_values<T>();
  const auto masks = arena.masks();
  return {{weights.begin(), weights.end()},
          {states.begin(), states.end()},
          {masks.begin(), masks.end()},
          arena.batches_tracked};
}

Content content_of(ParameterArena& arena) {
  arena.store_dense();
  return arena.element_bytes() == sizeof(double) ? content_of_elements<double>(arena)
                                                 : content_of_elements<float>(arena);
}

/// Sets weights of every kind, some of them 0, statistics, and a mask.
template <class T>
void fill_at_random(ParameterArena& arena) {
  const RandomStream random(3, Purpose::test);
  arena.edit_masks([&](std::span<uint8_t> masks) {
    for (const Parameter& p : arena.parameters())
      for (int64_t i = p.offset; p.prunable && i < p.offset + p.count; ++i)
        masks[static_cast<size_t>(i)] = random.below(static_cast<uint64_t>(i), 3) == 0 ? 1 : 0;
  });
  const auto weights = arena.edit_weights<T>();
  for (size_t i = 0; i < weights.size(); ++i)
    weights[i] = random.below(10000 + i, 5) == 0 ? T{0} : static_cast<T>(random.normal(20000 + i));
  for (size_t i = 0; i < arena.state_values<T>().size(); ++i)
    arena.edit_state_values<T>()[i] = static_cast<T>(random.uniform(30000 + i));
  arena.batches_tracked = 5;
  arena.zero_masked();
}

std::unique_ptr<Network> random_network(const kernels::Backend& backend) {
  auto network = std::make_unique<Network>(tiny_spec(), backend, 8);
  network->initialise(kSeed);
  if (network->parameters().element_bytes() == sizeof(double))
    fill_at_random<double>(network->parameters());
  else
    fill_at_random<float>(network->parameters());
  return network;
}

/// A network as a file may hold it.
StoredNetwork random_stored(const Network& network) {
  const RandomStream random(4, Purpose::test);
  const ParameterArena& arena = network.parameters();
  StoredNetwork stored;
  for (int64_t i = 0; i < arena.count(); ++i) {
    const auto at = static_cast<uint64_t>(i);
    stored.weights.push_back(random.below(at, 4) == 0 ? 0.f : random.normal(10000 + at));
    stored.masks.push_back(random.below(20000 + at, 2) == 0 ? 1 : 0);
  }
  for (const Parameter& p : arena.parameters())
    if (!p.prunable) std::fill_n(stored.masks.begin() + p.offset, p.count, uint8_t{1});
  for (const StateArray& s : arena.states())
    for (int64_t i = 0; i < s.count; ++i)
      stored.states.push_back(random.uniform(30000 + static_cast<uint64_t>(s.offset + i)));
  stored.batches_tracked = 9;
  return stored;
}

std::vector<double> initial_weights(uint64_t seed) {
  Network fresh(tiny_spec(), *test::tested_backends().front(), 8);
  fresh.initialise(seed);
  return content_of(fresh.parameters()).weights;
}

/// The seed of the fresh network of a reinitialisation.
uint64_t fresh_seed(int64_t plan_step) {
  const auto words =
      RandomStream(kSeed, Purpose::reinitialise).words(static_cast<uint64_t>(plan_step));
  return (uint64_t{words[1]} << 32) + words[0];
}

double sign(double x) {
  return x > 0 ? 1 : x < 0 ? -1 : 0;
}

enum class Kind { layer_weight, bias, batch_norm };

Kind kind_of(const Parameter& p) {
  if (p.shape.size() > 1) return Kind::layer_weight;
  return p.name.starts_with("bn") ? Kind::batch_norm : Kind::bias;
}

/// Applies an action and compares each weight with value(kind, i, old), the statistics with
/// `states` and the mask with `masks`.
template <class Value>
void check_action(const char* action, const Value& value, const std::vector<uint8_t>* masks,
                  bool fresh_states, const StoredNetwork* stored, int64_t plan_step = 3) {
  for (const kernels::Backend* backend : test::tested_backends()) {
    CAPTURE(std::string(action));
    CAPTURE(std::string(backend->name));
    const auto network = random_network(*backend);
    ParameterArena& arena = network->parameters();
    const Content before = content_of(arena);
    find_action(action).apply({*network, kSeed, plan_step, stored});
    const Content after = content_of(arena);
    CHECK(after.masks == (masks != nullptr ? *masks : before.masks));
    for (const Parameter& p : arena.parameters())
      for (auto i = static_cast<size_t>(p.offset); i < static_cast<size_t>(p.offset + p.count);
           ++i) {
        const double expected = after.masks[i] != 0 ? value(p, i, before) : 0;
        if (after.weights[i] != expected ||
            (expected == 0 && after.masks[i] == 0 && std::signbit(after.weights[i]))) {
          FAIL_CHECK(p.name, " element ", i, " is ", after.weights[i], " instead of ", expected);
          return;
        }
      }
    if (!fresh_states) return;
    for (const StateArray& s : arena.states())
      for (int64_t i = 0; i < s.count; ++i)
        CHECK(after.states[static_cast<size_t>(s.offset + i)] == s.initial);
    CHECK(after.batches_tracked == 0);
  }
}

}  // namespace

TEST_CASE("interventions: reinit makes a fresh network, or takes magnitudes or signs of one") {
  const std::vector<double> fresh = initial_weights(fresh_seed(3));
  check_action(
      "reinit all", [&](const Parameter&, size_t i, const Content&) { return fresh[i]; }, nullptr,
      true, nullptr);
  check_action(
      "reinit keep signs",
      [&](const Parameter& p, size_t i, const Content& before) {
        const double old = before.weights[i];
        if (kind_of(p) != Kind::layer_weight || old == 0) return fresh[i];
        return std::abs(fresh[i]) * sign(old);
      },
      nullptr, true, nullptr);
  check_action(
      "reinit keep magnitudes",
      [&](const Parameter& p, size_t i, const Content& before) {
        const double old = before.weights[i];
        return kind_of(p) == Kind::layer_weight ? std::abs(old) * sign(fresh[i]) : old;
      },
      nullptr, false, nullptr);
  CHECK(fresh != initial_weights(kSeed));
  CHECK(fresh != initial_weights(fresh_seed(4)));  // each step of a plan draws anew
}

TEST_CASE("interventions: keep magnitudes leaves batch norm's statistics") {
  const auto network = random_network(*test::tested_backends().front());
  const Content before = content_of(network->parameters());
  reinit_keep_magnitudes({*network, kSeed, 3, nullptr});
  CHECK(content_of(network->parameters()).states == before.states);
  CHECK(content_of(network->parameters()).batches_tracked == 5);
}

TEST_CASE(
    "interventions: shuffle mask permutes within layers, and new weights are the initial ones") {
  const std::vector<double> initial = initial_weights(kSeed);
  const auto network = random_network(*test::tested_backends().front());
  ParameterArena& arena = network->parameters();
  const Content before = content_of(arena);
  // Fisher-Yates, written for positions instead of values.
  std::vector<uint8_t> expected = before.masks;
  const auto parameters = arena.parameters();
  for (size_t id = 0; id < parameters.size(); ++id) {
    const Parameter& p = parameters[id];
    if (!p.prunable) continue;
    std::vector<size_t> from(static_cast<size_t>(p.count));
    for (size_t i = 0; i < from.size(); ++i)
      from[i] = i;
    const RandomStream random(kSeed, Purpose::shuffle_mask, (uint64_t{3} << 32) + id);
    for (size_t last = from.size() - 1; last > 0; --last)
      std::swap(from[last], from[random.below(last, last + 1)]);
    for (size_t i = 0; i < from.size(); ++i)
      expected[static_cast<size_t>(p.offset) + i] =
          before.masks[static_cast<size_t>(p.offset) + from[i]];
  }
  check_action(
      "shuffle mask",
      [&](const Parameter&, size_t i, const Content& old) {
        return old.masks[i] != 0 ? old.weights[i] : initial[i];
      },
      &expected, false, nullptr);
  CHECK(expected != before.masks);
  shuffle_mask({*network, kSeed, 3, nullptr});
  const Content after = content_of(arena);
  for (const Parameter& p : parameters) {
    const auto kept = [&](const std::vector<uint8_t>& masks) {
      return std::count(masks.begin() + p.offset, masks.begin() + p.offset + p.count, 1);
    };
    CHECK(kept(after.masks) == kept(before.masks));
  }
  CHECK(after.states == before.states);
}

TEST_CASE("interventions: shuffle mask puts each kept weight anywhere with the same probability") {
  // One kept weight in a layer of 21, shuffled at 4,000 steps of a plan.
  Network network(tiny_spec(), kernels::cpu_backend(), 8);
  network.initialise(1);
  ParameterArena& arena = network.parameters();
  const Parameter& fc = *std::ranges::find(arena.parameters(), "fc.weight", &Parameter::name);
  std::map<int64_t, int64_t> places;
  constexpr int64_t kDraws = 4000;
  for (int64_t step = 0; step < kDraws; ++step) {
    arena.edit_masks([&](std::span<uint8_t> masks) {
      const auto mask = ParameterArena::slice(masks, fc);
      std::ranges::fill(mask, uint8_t{0});
      mask[4] = 1;
    });
    shuffle_mask({network, 1, step, nullptr});
    const auto mask = ParameterArena::slice(arena.masks(), fc);
    ++places[std::ranges::find(mask, uint8_t{1}) - mask.begin()];
  }
  CHECK(places.size() == 21);
  for (const auto& [place, count] : places)
    CHECK(std::abs(static_cast<double>(count) - kDraws / 21.0) < 6 * std::sqrt(kDraws / 21.0));
}

TEST_CASE("interventions: load takes weights, signs, batch norm or the mask of a file") {
  const auto network = random_network(*test::tested_backends().front());
  const StoredNetwork stored = random_stored(*network);
  const std::vector<double> initial = initial_weights(kSeed);
  check_action(
      "load weights",
      [&](const Parameter& p, size_t i, const Content& before) {
        return kind_of(p) == Kind::batch_norm ? before.weights[i] : double{stored.weights[i]};
      },
      nullptr, false, &stored);
  check_action(
      "load signs",
      [&](const Parameter& p, size_t i, const Content& before) {
        const double old = before.weights[i], other = stored.weights[i];
        if (kind_of(p) != Kind::layer_weight || other == 0) return old;
        return std::abs(old) * sign(other);
      },
      nullptr, false, &stored);
  check_action(
      "load batch_norm",
      [&](const Parameter& p, size_t i, const Content& before) {
        return kind_of(p) == Kind::batch_norm ? double{stored.weights[i]} : before.weights[i];
      },
      nullptr, false, &stored);
  check_action(
      "load mask",
      [&](const Parameter&, size_t i, const Content& before) {
        return before.masks[i] != 0 ? before.weights[i] : initial[i];
      },
      &stored.masks, false, &stored);

  load_batch_norm({*network, kSeed, 0, &stored});
  const Content after = content_of(network->parameters());
  CHECK(std::ranges::equal(after.states, stored.states));
  CHECK(after.batches_tracked == 9);
}
