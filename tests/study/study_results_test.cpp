// The results of a study's folder, and the names and links of its runs.

#include "engine/study/study_results.h"

#include <cmath>
#include <doctest/doctest.h>

#include "engine/core/files.h"
#include "engine/run/run_lock.h"
#include "engine/study/study_folder.h"
#include "tests/support/messages.h"
#include "tests/support/temporary_folder.h"

using namespace sculpt;
using namespace sculpt::testing;

namespace fs = std::filesystem;

namespace {

constexpr const char* kStudy = R"(
format = "sculpt-study-1"
title = "Two methods"
base = "base.toml"
[set]
train.epochs = 2
[vary]
seed = [1, 2, 3, 4, 5]
)";

void write_run(const fs::path& folder, const std::string& summary) {
  fs::create_directories(folder);
  write_file(folder / "config.toml",
             "format = \"sculpt-config-2\"\nmethod = \"lrr\"\n[prune]\nsparsity = 0.9\n");
  write_file(folder / "environment.json", "{\"format\": \"sculpt-environment-1\"}");
  if (summary.empty()) return;
  fs::create_directories(folder / "checkpoints");
  write_file(folder / "checkpoints" / "final.safetensors", "");
  write_file(folder / "summary.json", summary);
}

}  // namespace

TEST_CASE("study results: the state of every run") {
  TemporaryFolder folder;
  CHECK_FALSE(is_study_folder(folder.path()));
  write_file(folder / "base.toml", "");
  write_file(folder / "study.toml", kStudy);
  CHECK(is_study_folder(folder.path()));
  fs::create_directories(folder / "logs");
  write_run(folder / "001-s1",
            "{\"format\": \"sculpt-summary-1\", \"test_accuracy\": 0.5, \"sparsity\": 0.9}");
  write_run(folder / "002-s2", "");
  write_run(folder / "003-s3", "");
  write_file(folder.path() / "logs" / "003-s3.failed", "error: out of memory\n");
  write_run(folder / "004-s4", "");
  const RunLock lock(folder / "004-s4");

  const StudyResults results = read_study_results(folder.path());
  CHECK(results.study.title == "Two methods");
  REQUIRE(results.runs.size() == 5);
  CHECK(results.runs[0].status == StudyRunStatus::finished);
  CHECK(results.runs[1].status == StudyRunStatus::stopped);
  CHECK(results.runs[2].status == StudyRunStatus::failed);
  CHECK(results.runs[2].failure == "error: out of memory");
  CHECK(results.runs[3].status == StudyRunStatus::running);
  CHECK(results.runs[4].status == StudyRunStatus::waiting);
  CHECK(results.count(StudyRunStatus::finished) == 1);
  CHECK(std::string(name_of(StudyRunStatus::waiting)) == "waiting");

  const StudyRunResult& first = results.runs[0];
  CHECK(number_of(first, "test_accuracy") == 0.5);
  CHECK(number_of(first, "density") == doctest::Approx(0.1));
  CHECK(number_of(first, "train.epochs") == 2);      // from the study
  CHECK(number_of(first, "prune.sparsity") == 0.9);  // from the config of the run
  CHECK(std::isnan(number_of(first, "method")));
  CHECK(value_of(first, "method") == "lrr");
  CHECK(matches({{{"seed", {"1", "2"}}, {"method", {"lrr"}}}, ""}, first));
  CHECK(matches({{{"prune.sparsity", {"0.90"}}}, ""}, first));
  CHECK_FALSE(matches({{{"seed", {"2"}}}, ""}, first));
  CHECK_FALSE(matches({{{"optim.lr", {"0.1"}}}, ""}, first));
  CHECK(matches({}, first));
}

TEST_CASE("study folder: links are relative, follow the study, and never replace a folder") {
  TemporaryFolder root;
  const fs::path out = root / "study", pool = root / "pool";
  fs::create_directories(out);
  fs::create_directories(pool / "a");
  fs::create_directories(pool / "b");
  link_to_folder(out / "001", pool / "a");
  CHECK(fs::read_symlink(out / "001") == fs::path("../pool/a"));
  CHECK(fs::equivalent(out / "001", pool / "a"));
  link_to_folder(out / "001", pool / "b");
  CHECK(fs::equivalent(out / "001", pool / "b"));
  link_to_folder(out / "002", pool / "later");  // made by the run
  CHECK(fs::is_symlink(out / "002"));
  fs::create_directories(out / "003");
  CHECK(contains(error_of([&] { link_to_folder(out / "003", pool / "a"); }), "is not a link"));
}

TEST_CASE("study folder: names in a pool depend on the config alone") {
  const std::map<std::string, std::string> values = {{"data.name", "\"cifar10\""},
                                                     {"model.name", "\"resnet20\""},
                                                     {"method", "\"lrr\""},
                                                     {"prune.sparsity", "0.9"},
                                                     {"seed", "3"},
                                                     {"optim.lr", "0.1"}};
  CHECK(pool_name(values, "0123456789abcdef") == "cifar10-resnet20-lrr-sparsity0.9-s3-01234567");
  CHECK(pool_name({{"seed", "1"}}, "abcdef0123") == "s1-abcdef01");
}

TEST_CASE("study folder: the last lines of a log") {
  TemporaryFolder folder;
  const fs::path file = folder / "log";
  CHECK(last_lines(file, 3) == "");
  for (const auto& [text, expected] : std::vector<std::pair<std::string, std::string>>{
           {"", ""}, {"a", "a"}, {"a\n", "a"}, {"a\nb\nc\n", "b\nc"}, {"a\nb", "a\nb"}}) {
    write_file(file, text);
    CHECK(last_lines(file, 2) == expected);
  }
  std::string large;
  for (int i = 0; i < 20000; ++i)
    large += std::to_string(i) + "\n";
  write_file(file, large);
  CHECK(last_lines(file, 2) == "19998\n19999");
}
