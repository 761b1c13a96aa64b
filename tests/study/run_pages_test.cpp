// Pages of runs whose folders get other names.

#include "apps/sculpt_study/run_pages.h"

#include <doctest/doctest.h>

#include "engine/report/analysis_file.h"
#include "tests/support/temporary_folder.h"

using namespace sculpt;
using namespace sculpt::testing;

TEST_CASE("run pages: a command names the folder of today, and other folders stay") {
  const auto renamed = [](const char* command) {
    return with_folder_name(command, "003-lrr-s1", "004-lrr-s1");
  };
  CHECK(renamed("sculpt_analyze flips runs/x/003-lrr-s1 --top 3") ==
        "sculpt_analyze flips runs/x/004-lrr-s1 --top 3");
  CHECK(renamed("'a b/003-lrr-s1/checkpoints/final.safetensors' 003-lrr-s1") ==
        "'a b/004-lrr-s1/checkpoints/final.safetensors' 004-lrr-s1");
  for (const char* other :
       {"x/003-lrr-s10", "x/1003-lrr-s1", "x/003-lrr-s1-again", "x/003-lrr-s2", ""})
    CHECK(renamed(other) == other);
  CHECK(with_folder_name("a", "", "b") == "a");
}

TEST_CASE("run pages: the analyses of a run are told the new name, and nothing else changes") {
  const TemporaryFolder folder;
  Analysis analysis;
  analysis.name = "flips";
  analysis.title = "of 003-a";
  analysis.command = "sculpt_analyze flips x/003-a";
  analysis.values = {{"flipped.mean", 0.1}};
  write_analysis(folder / "003-a", analysis);
  rename_in_analyses(folder / "003-a", "007-a");
  const Analysis read = read_analysis(folder / "003-a" / "analysis" / "flips.json");
  CHECK(read.command == "sculpt_analyze flips x/007-a");
  CHECK(read.title == analysis.title);
  CHECK(read.values == analysis.values);
}
