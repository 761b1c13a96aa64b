// The files that plans load: what is read, what is refused, and what a resumed run compares.

#include "engine/run/plan_files.h"

#include <algorithm>
#include <cstring>
#include <doctest/doctest.h>

#include "engine/core/error.h"
#include "engine/core/files.h"
#include "engine/core/random.h"
#include "engine/run/run_folder.h"
#include "tests/support/messages.h"
#include "tests/support/tiny_run.h"

using namespace sculpt;
using namespace sculpt::testing;
using safetensors::Dtype;
using safetensors::Tensor;

namespace {

namespace fs = std::filesystem;

/// A file with masks alone, of the given type, as other programs write them.
class MaskFile {
 public:
  explicit MaskFile(Dtype dtype, const NetworkSpec& spec = tiny_spec()) {
    Network network(spec, kernels::cpu_backend(), 8);
    const ParameterArena& arena = network.parameters();
    const RandomStream random(8, Purpose::test);
    bytes_.assign(static_cast<size_t>(arena.count()), std::byte{1});
    for (const Parameter& p : arena.parameters()) {
      if (!p.prunable) continue;
      for (int64_t i = p.offset; i < p.offset + p.count; ++i)
        bytes_[static_cast<size_t>(i)] =
            random.below(static_cast<uint64_t>(i), 2) == 0 ? std::byte{0} : std::byte{1};
      Tensor t;
      t.name = p.name + ".mask";
      t.dtype = dtype;
      t.shape = p.shape;
      t.data = Bytes(bytes_).subspan(static_cast<size_t>(p.offset), static_cast<size_t>(p.count));
      tensors_.push_back(t);
    }
  }
  std::vector<std::byte>& bytes() { return bytes_; }
  std::string write(const fs::path& path) {
    safetensors::write(path, tensors_, {});
    return path.string();
  }

 private:
  std::vector<std::byte> bytes_;
  std::vector<Tensor> tensors_;
};

Plan load(const std::string& what, const std::string& path) {
  return {Cycle{1}, Intervention{"load " + what, path}, Cycle{1}};
}

/// Returns the message if the file of a plan is refused.
std::string refusal(const Plan& plan, const NetworkSpec& spec = tiny_spec()) {
  Network network(spec, kernels::cpu_backend(), 8);
  return error_of([&] { PlanFiles::read(plan, 0).fit_to(network.parameters()); });
}

void train(const fs::path& folder) {
  TinyRun run(folder, {PruneStep{"random", "erk", 0.5}, Cycle{1}});
  run.trainer().start();
  REQUIRE(run.trainer().run() == RunOutcome::finished);
}

}  // namespace

TEST_CASE("plan files: masks of the types U8 and BOOL are read") {
  const TemporaryFolder folder;
  Network network(tiny_spec(), kernels::cpu_backend(), 8);
  for (const Dtype dtype : {Dtype::u8, Dtype::boolean}) {
    MaskFile file(dtype);
    const std::string path = file.write(folder / "masks.safetensors");
    PlanFiles files = PlanFiles::read(load("mask", path), 0);
    files.fit_to(network.parameters());
    const StoredNetwork& stored = files.of({"load mask", path});
    CHECK(std::ranges::equal(std::as_bytes(std::span(stored.masks)), file.bytes()));
    CHECK(stored.weights.empty());
    CHECK(files.find({"load weights", path}) == nullptr);
  }
}

TEST_CASE("plan files: a run folder stands for its final checkpoint") {
  const TemporaryFolder folder;
  train(folder / "run");
  const std::string root = (folder / "run").string();
  const std::string file = RunFolder(folder / "run").final_checkpoint().string();
  CHECK(PlanFiles::read(load("mask", root), 0).fingerprints().at(root) ==
        PlanFiles::read(load("weights", file), 0).fingerprints().at(file));
  CHECK(refusal(load("signs", root)).empty());
  fs::create_directories(folder / "empty");
  CHECK(contains(refusal(load("mask", (folder / "empty").string())),
                 "give the folder of a finished run"));
}

TEST_CASE("plan files: what does not fit is refused before the run, naming step and file") {
  const TemporaryFolder folder;
  train(folder / "run");
  const std::string root = (folder / "run").string();
  const std::string missing = (folder / "missing.safetensors").string();
  const std::string message = refusal(load("weights", missing));
  CHECK(contains(message, "step 2 of the plan"));
  CHECK(contains(message, missing));

  NetworkSpec wider = tiny_spec();
  wider.model = [](Builder& b, Value x) {
    x = b.batch_norm("bn1", b.conv("conv1", x, 6), {.relu = true});
    return b.linear("fc", b.global_average_pool(x), 3);
  };
  for (const char* what : {"weights", "signs", "batch_norm", "mask"}) {
    CAPTURE(what);
    const std::string text = refusal(load(what, root), wider);
    CHECK(contains(text, "step 2 of the plan"));
    CHECK(contains(text, "does not fit the network of this config"));
    CHECK(contains(text, "conv1"));
  }

  MaskFile masks(Dtype::boolean);
  const std::string path = masks.write(folder / "masks.safetensors");
  CHECK(contains(refusal(load("weights", path)), "conv1.weight [5, 2, 3, 3] is not in the file"));
  NetworkSpec exempt = tiny_spec();
  exempt.exempt = {"conv2"};
  const std::string exempted = refusal(load("mask", path), exempt);
  CHECK(contains(exempted, "masks weights of conv2.weight"));
  CHECK_FALSE(contains(exempted, "model.init_parts"));
  masks.bytes()[0] = std::byte{2};
  CHECK(contains(refusal(load("mask", masks.write(path))), "neither 0 nor 1"));

  TinyRun dense(folder / "dense", {Cycle{1}});
  dense.trainer().start();
  REQUIRE(dense.trainer().run() == RunOutcome::finished);
  const fs::path final = RunFolder(folder / "dense").final_checkpoint();
  const safetensors::File with_masks = safetensors::File::read(final, true);
  std::vector<Tensor> without;
  for (const Tensor& t : with_masks.tensors())
    if (!t.name.ends_with(".mask")) without.push_back(t);
  const fs::path plain = folder / "plain.safetensors";
  safetensors::write(plain, without, {});
  CHECK(refusal(load("weights", plain.string())).empty());
  CHECK(contains(refusal(load("mask", plain.string())), "has no masks"));
}

TEST_CASE("plan files: files of steps that are done are not read") {
  const Plan plan = load("mask", "/nowhere/at/all");
  CHECK_FALSE(error_of([&] { PlanFiles::read(plan, 1); }).empty());
  CHECK(PlanFiles::read(plan, 2).fingerprints().empty());
}

TEST_CASE("plan files: a resumed run must load the files of its start") {
  RunInputs then, now;
  then.loaded = {{"a", "1111111111111111"}, {"done", "2222222222222222"}};
  now.loaded = {{"a", "1111111111111111"}, {"new", "3333333333333333"}};
  require_same_inputs(then, now);
  now.loaded["a"] = "4444444444444444";
  const std::string message = error_of([&] { require_same_inputs(then, now); });
  CHECK(contains(message, "the file that the plan loads from a has changed"));
  CHECK(contains(message, "4444444444444444"));

  // Checkpoints record the fingerprints, and keep those of files that were not read again.
  const TemporaryFolder folder;
  TinyRun run(folder.path(), {Cycle{2}});
  run.store().set_inputs(then);
  run.trainer().start();
  run.stop_after_step(2);
  REQUIRE(run.trainer().run() == RunOutcome::interrupted);
  TinyRun changed(folder.path(), {Cycle{2}});
  changed.store().set_inputs(now);
  std::vector<std::string> warnings;
  CHECK_THROWS_WITH_AS(changed.trainer().resume(warnings), doctest::Contains("loads from a"),
                       OtherInputs);
  TinyRun later(folder.path(), {Cycle{2}});
  later.trainer().resume(warnings);
  later.stop_after_step(3);
  REQUIRE(later.trainer().run() == RunOutcome::interrupted);
  TinyRun third(folder.path(), {Cycle{2}});
  now.loaded = {{"done", "5555555555555555"}};
  third.store().set_inputs(now);
  CHECK_THROWS_WITH_AS(third.trainer().resume(warnings), doctest::Contains("loads from done"),
                       OtherInputs);
}
