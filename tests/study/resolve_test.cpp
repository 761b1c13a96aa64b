// The configs of a study's runs, and the hash that tells runs of a pool apart.

#include "apps/sculpt_study/resolve.h"

#include <doctest/doctest.h>
#include <set>

#include "engine/core/files.h"
#include "engine/study/study_file.h"
#include "tests/support/messages.h"
#include "tests/support/temporary_folder.h"

using namespace sculpt;
using namespace sculpt::testing;

namespace {

std::map<std::string, std::string> defaults() {
  RunOptions options;
  return flatten_config(write_config(options.sections()), "defaults");
}

}  // namespace

TEST_CASE("resolve: the hash counts every key that can change a bit, and no other") {
  const std::map<std::string, std::string> values = defaults();
  const std::set<std::string> last_bits = {"execution.threads", "execution.device",
                                           "execution.conv"};
  int64_t counted = 0;
  for (const auto& [key, value] : values) {
    CAPTURE(key);
    std::map<std::string, std::string> changed = values;
    changed[key] = value == "1" ? "2" : "1";
    const bool matters = keys_without_effect().count(key) == 0 || last_bits.count(key) > 0;
    CHECK((bits_hash(changed) != bits_hash(values)) == matters);
    counted += matters ? 1 : 0;
  }
  CHECK(counted > 40);
  // A run folder of an older program lacks a newer key, which had its default in effect.
  std::map<std::string, std::string> older = values;
  older.erase("optim.ema");
  CHECK(older.size() + 1 == values.size());
  CHECK(bits_hash(older) == bits_hash(values));
}

TEST_CASE("resolve: every run has its whole config, and paths into a pool are those of the pool") {
  TemporaryFolder folder;
  write_file(folder / "base.toml",
             "method = \"imp\"\n[execution]\nthreads = 7\n[train]\nepochs = 3\n");
  write_file(folder / "s.toml", R"(
base = "base.toml"
pool = "the/pool"
[vary]
seed = [4, 5]
[variant.user]
method = "custom"
plan = ["load mask from {run:made}", "train 2"]
[variant.made]
train.epochs = 9
)");
  const Study study = read_study_file((folder / "s.toml").string(), {}, config_keys_of_studies());
  const std::vector<ResolvedRun> runs = resolve(study);
  REQUIRE(runs.size() == 4);
  std::set<std::string> hashes;
  for (const ResolvedRun& run : runs) {
    CHECK(run.threads == 1);  // and not that of the base
    CHECK(run.values == flatten_config(run.config_toml, "config"));
    CHECK(run.values.size() == defaults().size());
    CHECK(run.folder.parent_path() == "the/pool");
    CHECK(run.folder.filename().string().ends_with(run.hash.substr(0, 8)));
    hashes.insert(run.hash);
  }
  CHECK(hashes.size() == 4);
  CHECK(runs[0].epochs == 2);
  CHECK(runs[2].values.at("train.epochs") == "9");
  CHECK(runs[3].values.at("seed") == "5");
  CHECK(runs[1].values.at("plan") == "[\"load mask from " +
                                         std::filesystem::absolute(runs[3].folder).string() +
                                         "\", \"train 2\"]");
}

TEST_CASE("resolve: an error names the run and the place of the setting") {
  TemporaryFolder folder;
  write_file(folder / "base.toml", "method = \"imp\"\n");
  const auto error = [&](const std::string& text) {
    write_file(folder / "s.toml", "base = \"base.toml\"\n" + text);
    return error_of([&] {
      resolve(read_study_file((folder / "s.toml").string(), {}, config_keys_of_studies()));
    });
  };
  const std::string value = error("[vary]\nprune.sparsity = [0.5, 1.5]\n");
  CHECK(contains(value, "run 002-sparsity1.5: "));
  CHECK(contains(value, "s.toml:3: prune.sparsity"));
  CHECK(contains(error("[set]\nmethod = \"ipm\"\n"), "did you mean \"imp\"?"));
  CHECK(contains(error("[set]\ntrain.epochs = 2.5\n"), "s.toml:3: train.epochs"));
}
