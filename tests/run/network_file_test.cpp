// A run can start from a file: the tests check what is read, what is refused, and whole runs.

#include "engine/run/network_file.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <doctest/doctest.h>
#include <limits>
#include <map>
#include <optional>

#include "engine/core/files.h"
#include "engine/core/random.h"
#include "engine/run/checkpoint.h"
#include "engine/run/run_folder.h"
#include "tests/support/tiny_run.h"

using namespace sculpt;
using namespace sculpt::testing;
using safetensors::Dtype;
using safetensors::Tensor;

namespace {

const kernels::Backend& backend() {
  return *test::tested_backends().front();
}

/// The tensors of a file with their own data, which a test can change.
class Tensors {
 public:
  /// Holds random values for everything in PyTorch's state_dict of tiny_spec(), and masks if
  /// `masks` is true.
  explicit Tensors(uint64_t seed, bool masks = false) {
    Network network(tiny_spec(), backend(), 8);
    const RandomStream random(seed, Purpose::test);
    uint64_t draw = 0;
    for (const Parameter& p : network.parameters().parameters()) {
      for (int64_t i = 0; i < p.count; ++i)
        add_float(p.name, p.shape, random.normal(draw++));
      if (masks && p.prunable)
        for (int64_t i = 0; i < p.count; ++i)
          add(p.name + ".mask", Dtype::u8, p.shape, static_cast<uint8_t>(random.below(draw++, 2)));
    }
    for (const StateArray& s : network.parameters().states())
      for (int64_t i = 0; i < s.count; ++i)
        add_float(s.name, {s.count}, random.uniform(draw++));
    for (const char* norm : {"bn1", "bn2"})
      add(std::string(norm) + ".num_batches_tracked", Dtype::i64, {}, int64_t{77});
  }

  template <class T>
  void add(const std::string& name, Dtype dtype, const std::vector<int64_t>& shape, T value) {
    Tensor& t = tensors_[name];
    t.name = name;
    t.dtype = dtype;
    t.shape = shape;
    std::vector<std::byte>& data = data_[name];
    data.resize(data.size() + sizeof value);
    std::memcpy(data.data() + data.size() - sizeof value, &value, sizeof value);
  }
  void add_float(const std::string& name, const std::vector<int64_t>& shape, float value) {
    add(name, Dtype::f32, shape, value);
  }
  void remove(const std::string& name) {
    tensors_.erase(name);
    data_.erase(name);
  }
  template <class T>
  std::vector<T> values(const std::string& name) const {
    const std::vector<std::byte>& data = data_.at(name);
    std::vector<T> list(data.size() / sizeof(T));
    std::memcpy(list.data(), data.data(), data.size());
    return list;
  }

  std::filesystem::path write(const std::filesystem::path& path) {
    std::vector<Tensor> list;
    for (const size_t bytes : {8, 4, 2, 1})
      for (auto& [name, tensor] : tensors_) {
        tensor.data = data_[name];
        if (safetensors::element_bytes(tensor.dtype) == bytes) list.push_back(tensor);
      }
    safetensors::write(path, list, {});
    return path;
  }

 private:
  std::map<std::string, Tensor> tensors_;
  std::map<std::string, std::vector<std::byte>> data_;
};

std::string load_error(const std::filesystem::path& path, NetworkParts parts,
                       std::optional<NetworkSpec> spec = std::nullopt) {
  Network network(spec ? *spec : tiny_spec(), backend(), 8);
  network.initialise(3);
  ParameterArena& arena = network.parameters();
  const std::vector<float> before(arena.weights<float>().begin(), arena.weights<float>().end());
  const std::string message = error_of([&] { NetworkFile::read(path, parts).load_into(arena); });
  if (!message.empty()) {  // then nothing has changed
    CHECK(std::ranges::equal(before, arena.weights<float>()));
    CHECK(arena.kept_count() == arena.prunable_count());
  }
  return message;
}

/// Parameter by parameter against the file: weight where kept, +0 elsewhere.
void check_loaded(ParameterArena& arena, const Tensors& file, bool weights, bool masks,
                  uint64_t seed) {
  Network fresh(tiny_spec(), backend(), 8);
  fresh.initialise(seed);
  for (const Parameter& p : arena.parameters()) {
    const auto actual = ParameterArena::slice(arena.weights<float>(), p);
    const auto kept = ParameterArena::slice(arena.masks(), p);
    const auto initial = ParameterArena::slice(fresh.parameters().weights<float>(), p);
    const auto stored = file.values<float>(p.name);
    for (size_t i = 0; i < actual.size(); ++i) {
      const bool keeps = !masks || !p.prunable || file.values<uint8_t>(p.name + ".mask")[i] == 1;
      CHECK(kept[i] == keeps);
      const float expected = !keeps ? 0.f : weights ? stored[i] : initial[i];
      CHECK(std::bit_cast<uint32_t>(actual[i]) == std::bit_cast<uint32_t>(expected));
    }
  }
  for (const StateArray& s : arena.states()) {
    const auto stored = file.values<float>(s.name);
    for (int64_t i = 0; i < s.count; ++i)
      CHECK(arena.state_values<float>()[static_cast<size_t>(s.offset + i)] ==
            (weights ? stored[static_cast<size_t>(i)] : s.initial));
  }
  CHECK(arena.batches_tracked == (weights ? 77 : 0));
}

}  // namespace

TEST_CASE("initial network: weights, masks or both, over an initialised network") {
  TemporaryFolder folder;
  Tensors plain(1), masked(2, true);
  masked.add_float("optimizer.momentum.fc.bias", {1}, 5.f);
  for (const auto& [tensors, parts, weights, masks] :
       {std::tuple(&plain, NetworkParts::both, true, false),
        std::tuple(&plain, NetworkParts::weights, true, false),
        std::tuple(&masked, NetworkParts::both, true, true),
        std::tuple(&masked, NetworkParts::weights, true, false),
        std::tuple(&masked, NetworkParts::masks, false, true)}) {
    const auto path = tensors->write(folder / "x.safetensors");
    Network network(tiny_spec(), backend(), 8);
    network.initialise(9);
    NetworkFile::read(path, parts).load_into(network.parameters());
    check_loaded(network.parameters(), *tensors, weights, masks, 9);
    for (const float m : network.parameters().momentum<float>())
      CHECK(m == 0);
  }
  // A prunable layer without a mask is kept whole.
  masked.remove("fc.weight.mask");
  Network network(tiny_spec(), backend(), 8);
  network.initialise(9);
  NetworkFile::read(masked.write(folder / "x.safetensors"), NetworkParts::masks)
      .load_into(network.parameters());
  const ParameterArena& arena = network.parameters();
  for (size_t id = 0; id < arena.parameters().size(); ++id)
    if (arena[static_cast<ParameterId>(id)].name == "fc.weight")
      CHECK(arena.pattern()->kept(static_cast<ParameterId>(id)) == 3 * 7);
}

TEST_CASE("initial network: F16 and BF16 are converted exactly") {
  TemporaryFolder folder;
  Network network(tiny_spec(), backend(), 8);
  const auto load = [&](Dtype dtype, uint16_t first) {
    Tensors tensors(1);
    tensors.remove("conv2.weight");
    for (int i = 0; i < 7 * 5 * 9; ++i)
      tensors.add("conv2.weight", dtype, {7, 5, 3, 3}, static_cast<uint16_t>(first + i));
    network.initialise(9);
    NetworkFile::read(tensors.write(folder / "x.safetensors"), NetworkParts::both)
        .load_into(network.parameters());
    for (const Parameter& p : network.parameters().parameters())
      if (p.name == "conv2.weight")
        return ParameterArena::slice(network.parameters().weights<float>(), p);
    return std::span<const float>();
  };
  // Zero, numbers below the normal range, around one, up to the largest; negative ones.
  for (const uint16_t first : {0x0000, 0x0300, 0x3B80, 0x7AC4, 0x8000, 0x8380, 0xBC00}) {
    const auto values = load(Dtype::f16, first);
    for (size_t i = 0; i < values.size(); ++i) {
      const unsigned bits = first + static_cast<unsigned>(i);
      const int exponent = static_cast<int>(bits >> 10 & 31),
                fraction = static_cast<int>(bits & 1023);
      const double magnitude =
          exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
      CHECK(static_cast<double>(values[i]) == (bits >> 15 ? -magnitude : magnitude));
      CHECK(std::signbit(values[i]) == (bits >> 15 == 1));
    }
  }
  for (const uint16_t first : {0x0000, 0x3F00, 0x7E00, 0x8000, 0xBF00}) {
    const auto values = load(Dtype::bf16, first);
    for (size_t i = 0; i < values.size(); ++i)
      CHECK(std::bit_cast<uint32_t>(values[i]) == (first + static_cast<uint32_t>(i)) << 16);
  }
}

TEST_CASE("initial network: what does not fit is refused, by name") {
  TemporaryFolder folder;
  const auto path = folder / "x.safetensors";
  const auto message_of = [&](const auto& change, NetworkParts parts = NetworkParts::both,
                              std::optional<NetworkSpec> spec = std::nullopt) {
    Tensors tensors(1, true);
    change(tensors);
    const std::string message = load_error(tensors.write(path), parts, spec);
    CAPTURE(message);
    CHECK(contains(message, path.string()));
    CHECK(contains(message, "model.init_from"));
    return message;
  };
  CHECK(contains(message_of([](Tensors& t) { t.remove("fc.bias"); }),
                 "fc.bias [3] is not in the file"));
  CHECK(contains(message_of([](Tensors& t) { t.remove("bn2.running_var"); }),
                 "bn2.running_var [7] is not in the file"));
  CHECK(contains(message_of([](Tensors& t) {
                   t.remove("conv1.weight");
                   t.add_float("conv1.weight", {1}, 1);
                 }),
                 "conv1.weight is [1] in the file and [5, 2, 3, 3] in the network"));
  CHECK(contains(message_of([](Tensors& t) { t.add_float("conv9.weight", {1}, 1); }),
                 "conv9.weight [1] is not in the network"));
  CHECK(contains(message_of([](Tensors& t) { t.add("conv9.weight.mask", Dtype::u8, {1}, 'a'); },
                            NetworkParts::masks),
                 "conv9.weight.mask [1] is not in the network"));
  CHECK(contains(message_of([](Tensors& t) {
                   t.remove("bn1.bias");
                   for (int i = 0; i < 5; ++i)
                     t.add("bn1.bias", Dtype::f64, {5}, 1.0);
                 }),
                 "bn1.bias is not of the type F32, F16 or BF16"));
  for (const float bad : {std::numeric_limits<float>::infinity(), std::nanf("")})
    CHECK(contains(message_of([&](Tensors& t) {
                     t.remove("fc.bias");
                     for (const float value : {1.f, bad, 2.f})
                       t.add_float("fc.bias", {3}, value);
                   }),
                   "fc.bias has values that are infinite or not a number"));
  // A message about many faults has the first few, and the number of the others.
  const std::string many = message_of([](Tensors& t) {
    for (int i = 0; i < 9; ++i)
      t.add_float(fmt::format("extra{}", i), {1}, 1);
  });
  CHECK(contains(many, "extra3 [1] is not in the network\n  and 5 more"));
  CHECK_FALSE(contains(many, "extra4"));
  // Masks.
  CHECK(contains(message_of([](Tensors& t) {
                   t.remove("fc.weight.mask");
                   for (int i = 0; i < 21; ++i)
                     t.add("fc.weight.mask", Dtype::u8, {3, 7}, uint8_t{2});
                 }),
                 "fc.weight.mask has values that are neither 0 nor 1"));
  NetworkSpec exempt = tiny_spec();
  exempt.prune_classifier = false;
  CHECK(contains(message_of([](Tensors&) {}, NetworkParts::both, exempt),
                 "masks weights of fc.weight, which this config exempts from pruning"));
  CHECK(contains(message_of(
                     [](Tensors& t) {
                       for (const char* layer : {"conv1", "conv2", "fc"})
                         t.remove(std::string(layer) + ".weight.mask");
                     },
                     NetworkParts::masks),
                 "has no masks"));
  // Files.
  CHECK(contains(error_of([&] { NetworkFile::read(folder / "none", NetworkParts::both); }),
                 "model.init_from: cannot read"));
  write_file(folder / "text", "not a network at all");
  CHECK(contains(error_of([&] { NetworkFile::read(folder / "text", NetworkParts::both); }),
                 "model.init_from: "));
}

TEST_CASE("initial network: the fingerprint is that of the file's content") {
  TemporaryFolder folder;
  Tensors tensors(1);
  const auto fingerprint = [](const std::filesystem::path& path) {
    return NetworkFile::read(path, NetworkParts::both).fingerprint();
  };
  const std::string first = fingerprint(tensors.write(folder / "a.safetensors"));
  CHECK(first.size() == 16);
  CHECK(first == fingerprint(tensors.write(folder / "b.safetensors")));
  tensors.add_float("more", {1}, 1);
  CHECK(first != fingerprint(tensors.write(folder / "a.safetensors")));
}

TEST_CASE("initial network: a plan begins at the density of the masks, to the weight") {
  Network network(tiny_spec(), backend(), 8);
  network.initialise(1);
  ParameterArena& arena = network.parameters();
  const int64_t n = arena.prunable_count();
  const auto plan = [](double density) {
    return Plan{Cycle{1}, PruneStep{"magnitude", "global", density}, Cycle{1}};
  };
  CHECK(error_of([&] { require_density_left(plan(1), arena); }) == "");
  // Exactly the weights that density 0.3 keeps.
  int64_t kept = kept_for_density(0.3, n);
  arena.edit_masks([&](std::span<uint8_t> masks) {
    for (const Parameter& p : arena.parameters())
      if (p.prunable)
        for (uint8_t& m : ParameterArena::slice(masks, p))
          m = kept-- > 0;
  });
  CHECK(error_of([&] { require_density_left(plan(0.3), arena); }) == "");
  CHECK(error_of([&] { require_density_left({Cycle{1}}, arena); }) == "");
  CHECK(error_of([&] {
          require_density_left(
              {Intervention{"load mask", "x"}, PruneStep{"magnitude", "global", 1}, Cycle{1}},
              arena);
        }) == "");
  CHECK(error_of([&] {
          require_density_left({Cycle{1, 0, "acdc", 0.5}, PruneStep{"magnitude", "global", 0.5}},
                               arena);
        }) == "");
  CHECK(error_of([&] {
          require_density_left({Cycle{1, 0, "gmp", 0.2}, PruneStep{"magnitude", "global", 0.5}},
                               arena);
        }) != "");
  const std::string message =
      error_of([&] { require_density_left(plan(0.3 + 1.5 / static_cast<double>(n)), arena); });
  CHECK(contains(message, "step 2 of the plan"));
  CHECK(contains(message, "model.init_parts = \"weights\""));
  const double left = static_cast<double>(arena.kept_count()) / static_cast<double>(n);
  CHECK(contains(message, fmt::format("prune to a density below {:.6g}", left)));
  CHECK(error_of([&] { require_density_left(plan(left), arena); }) == "");
}

TEST_CASE("initial network: runs start there, rewind there, and resume to the same bytes") {
  TemporaryFolder folder;
  Tensors tensors(4, true);
  const auto path = tensors.write(folder / "x.safetensors");
  const auto load = [&](ParameterArena& arena) {
    NetworkFile::read(path, NetworkParts::both).load_into(arena);
  };
  const Plan plan = {Cycle{1}, PruneStep{"magnitude", "global", 0.25}, RewindStep{0}};
  TinyRun run(folder / "run", plan, TinyRun::tiny_options(), 22, TinyRun::tiny_pruning(),
              TinyRun::kHash, load);
  run.trainer().start();
  check_loaded(run.network().parameters(), tensors, true, true, 5);
  REQUIRE(run.trainer().run() == RunOutcome::finished);
  // After the rewind the weights are those of the file where the current mask keeps them. The
  // current mask is part of the mask in the file.
  const ParameterArena& arena = run.network().parameters();
  CHECK(arena.kept_count() == kept_for_density(0.25, arena.prunable_count()));
  for (const Parameter& p : arena.parameters()) {
    const auto weights = ParameterArena::slice(run.network().parameters().weights<float>(), p);
    const auto kept = ParameterArena::slice(arena.masks(), p);
    const auto stored = tensors.values<float>(p.name);
    for (size_t i = 0; i < weights.size(); ++i) {
      CHECK(weights[i] == (kept[i] ? stored[i] : 0.f));
      if (p.prunable && kept[i]) CHECK(tensors.values<uint8_t>(p.name + ".mask")[i] == 1);
    }
  }

  const Plan longer = {Cycle{2}, PruneStep{"magnitude", "global", 0.25}, RewindStep{0}, Cycle{2}};
  TinyRun whole(folder / "whole", longer, TinyRun::tiny_options(), 22, TinyRun::tiny_pruning(),
                TinyRun::kHash, load);
  whole.trainer().start();
  REQUIRE(whole.trainer().run() == RunOutcome::finished);
  // Before the first step, within the first epoch, before the prune and after the rewind.
  const std::vector<std::pair<std::string, std::function<void(TinyRun&)>>> moments = {
      {"start", [](TinyRun& at) { at.stop_before_plan_step(0); }},
      {"step-2", [](TinyRun& at) { at.stop_after_step(2); }},
      {"prune", [](TinyRun& at) { at.stop_before_plan_step(1); }},
      {"rewound", [](TinyRun& at) { at.stop_before_plan_step(3); }}};
  for (const auto& [name, stop] : moments) {
    CAPTURE(name);
    const auto root = folder / name;
    {
      TinyRun first(root, longer, TinyRun::tiny_options(), 22, TinyRun::tiny_pruning(),
                    TinyRun::kHash, load);
      stop(first);
      first.trainer().start();
      REQUIRE(first.trainer().run() == RunOutcome::interrupted);
    }
    // The file is not needed again.
    TinyRun second(root, longer, TinyRun::tiny_options(), 22, TinyRun::tiny_pruning(),
                   TinyRun::kHash, [](ParameterArena&) { fail("the file is gone"); });
    std::vector<std::string> warnings;
    second.trainer().resume(warnings);
    REQUIRE(second.trainer().run() == RunOutcome::finished);
    CHECK((read_file(RunFolder(root).final_checkpoint()) ==
           read_file(RunFolder(folder / "whole").final_checkpoint())));
  }
}
