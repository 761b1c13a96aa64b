// A network's tensors in a file: PyTorch's names, shapes and order; exact both ways.

#include "engine/run/checkpoint.h"

#include <cmath>
#include <cstring>
#include <doctest/doctest.h>

#include "engine/core/random.h"
#include "engine/run/run_state.h"
#include "tests/support/comparison.h"
#include "tests/support/tested_backends.h"
#include "tests/support/tiny_run.h"

using namespace sculpt;
using namespace sculpt::testing;
using safetensors::Dtype;

namespace {

/// Random contents everywhere, masked weights and momentum zero.
void fill(ParameterArena& arena, uint64_t seed) {
  const RandomStream random(seed, Purpose::test);
  uint64_t draw = 0;
  for (auto arena_span : {arena.edit_weights<float>(), arena.edit_momentum<float>()})
    for (float& x : arena_span)
      x = random.normal(draw++);
  for (float& x : arena.edit_state_values<float>())
    x = random.uniform(draw++);
  arena.edit_masks([&](std::span<uint8_t> masks) {
    for (const Parameter& p : arena.parameters())
      if (p.prunable)
        for (uint8_t& m : ParameterArena::slice(masks, p))
          m = static_cast<uint8_t>(random.below(draw++, 2));
  });
  arena.batches_tracked = 1234567890123;
}

}  // namespace

TEST_CASE("checkpoint: everything comes back bit by bit") {
  TemporaryFolder folder;
  Network a(tiny_spec(), *test::tested_backends().front(), 8),
      b(tiny_spec(), *test::tested_backends().front(), 8);
  fill(a.parameters(), 1);
  fill(b.parameters(), 2);
  const CheckpointContent all{.masks = true, .optimizer = true};
  write_checkpoint(folder / "x.safetensors", a.parameters(), all, {{"k", "v"}});
  const auto file = safetensors::File::read(folder / "x.safetensors", true);
  CHECK(file.metadata("k") == "v");
  read_checkpoint(file, b.parameters(), all);
  CHECK(same_bytes(a.parameters().weights<float>(), b.parameters().weights<float>()));
  CHECK(same_bytes(a.parameters().momentum<float>(), b.parameters().momentum<float>()));
  CHECK(same_bytes(a.parameters().state_values<float>(), b.parameters().state_values<float>()));
  CHECK(same_bytes(a.parameters().masks(), b.parameters().masks()));
  CHECK(a.parameters().batches_tracked == b.parameters().batches_tracked);
}

TEST_CASE("checkpoint: names, shapes and types are PyTorch's, masked weights are +0") {
  TemporaryFolder folder;
  Network network(tiny_spec(), *test::tested_backends().front(), 8);
  fill(network.parameters(), 3);
  write_checkpoint(folder / "x.safetensors", network.parameters(),
                   {.masks = true, .optimizer = false}, {});
  const auto file = safetensors::File::read(folder / "x.safetensors", true);
  file.get("conv1.weight", Dtype::f32, {5, 2, 3, 3});
  file.get("conv2.weight.mask", Dtype::u8, {7, 5, 3, 3});
  file.get("bn1.weight", Dtype::f32, {5});
  file.get("bn1.running_var", Dtype::f32, {5});
  file.get("bn2.num_batches_tracked", Dtype::i64, {});
  file.get("fc.weight", Dtype::f32, {3, 7});
  file.get("fc.bias", Dtype::f32, {3});
  CHECK_FALSE(file.has("fc.bias.mask"));
  CHECK_FALSE(file.has("bn1.weight.mask"));
  CHECK_FALSE(file.has("optimizer.momentum.fc.weight"));
  const auto& weight = file.get("conv2.weight", Dtype::f32, {7, 5, 3, 3});
  const auto& mask = file.get("conv2.weight.mask", Dtype::u8, {7, 5, 3, 3});
  int masked = 0;
  for (size_t i = 0; i < mask.data.size(); ++i) {
    uint32_t bits = 1;
    std::memcpy(&bits, weight.data.data() + 4 * i, 4);
    if (mask.data[i] == std::byte{0}) {
      CHECK(bits == 0);
      ++masked;
    }
  }
  CHECK(masked > 50);
}

TEST_CASE("checkpoint: what does not fit is refused and changes nothing") {
  TemporaryFolder folder;
  Network network(tiny_spec(), *test::tested_backends().front(), 8);
  fill(network.parameters(), 4);
  NetworkSpec wider = tiny_spec();
  wider.classes = 4;
  wider.model = [](Builder& b, Value x) {
    x = b.batch_norm("bn1", b.conv("conv1", x, 5), {.relu = true});
    x = b.batch_norm("bn2", b.conv("conv2", x, 7, {.stride = 2}), {.relu = true});
    return b.linear("fc", b.global_average_pool(x), 4);
  };
  Network other(wider, *test::tested_backends().front(), 8);
  const CheckpointContent all{.masks = true, .optimizer = true};
  write_checkpoint(folder / "x", other.parameters(), all, {});
  const auto weights = network.parameters().weights<float>();
  const std::vector<float> before(weights.begin(), weights.end());
  CHECK(contains(error_of([&] {
                   read_checkpoint(safetensors::File::read(folder / "x", true),
                                   network.parameters(), all);
                 }),
                 "fc.weight"));
  CHECK(std::equal(before.begin(), before.end(), weights.begin()));

  write_checkpoint(folder / "y", network.parameters(), {.masks = false, .optimizer = false}, {});
  CHECK(contains(error_of([&] {
                   read_checkpoint(safetensors::File::read(folder / "y", true),
                                   network.parameters(), all);
                 }),
                 "no tensor 'optimizer.momentum.conv1.weight'"));

  write_checkpoint(folder / "w", network.parameters(), all, {});
  const auto good = safetensors::File::read(folder / "w", true);
  const std::vector<std::byte> twos(good.get("conv1.weight.mask").data.size(), std::byte{2});
  std::vector<safetensors::Tensor> tensors(good.tensors().begin(), good.tensors().end());
  for (safetensors::Tensor& tensor : tensors)
    if (tensor.name == "conv1.weight.mask") tensor.data = twos;
  safetensors::write(folder / "z", std::move(tensors), {});
  CHECK(contains(error_of([&] {
                   read_checkpoint(safetensors::File::read(folder / "z", true),
                                   network.parameters(), all);
                 }),
                 "neither 0 nor 1"));
}

TEST_CASE("run state: numbers survive the text of the metadata exactly") {
  RunState state;
  const RandomStream random(9, Purpose::test);
  uint64_t draw = 0;
  state.visit([&](const char*, auto& value) {
    using T = std::decay_t<decltype(value)>;
    const auto w = random.words(draw++);
    if constexpr (std::is_same_v<T, double>)
      value = std::ldexp(static_cast<double>(w[0]) / 3, static_cast<int>(w[1] % 400) - 200);
    else
      value = static_cast<int64_t>((uint64_t{w[0]} << 31) ^ w[1]);
  });
  state.best_test_accuracy_at_density = NAN;
  TemporaryFolder folder;
  safetensors::write(folder / "s", {}, to_metadata(state));
  RunState back = state_from(safetensors::File::read(folder / "s", true));
  std::vector<std::string> a, b;
  const auto collect = [](std::vector<std::string>& out) {
    return [&out](const char*, auto& value) {
      out.emplace_back(reinterpret_cast<const char*>(&value), sizeof(value));
    };
  };
  CHECK(std::isnan(back.best_test_accuracy_at_density));
  back.best_test_accuracy_at_density = state.best_test_accuracy_at_density;
  state.visit(collect(a));
  back.visit(collect(b));
  CHECK(a == b);

  auto metadata = to_metadata(state);
  metadata["steps"] = "-3";
  safetensors::write(folder / "t", {}, metadata);
  CHECK(contains(error_of([&] { state_from(safetensors::File::read(folder / "t", true)); }),
                 "'steps' is '-3'"));
  metadata.erase("steps");
  safetensors::write(folder / "u", {}, metadata);
  CHECK(contains(error_of([&] { state_from(safetensors::File::read(folder / "u", true)); }),
                 "no metadata 'steps'"));
}
