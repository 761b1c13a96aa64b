// The analyses that runs of a study have, lack, or have failed to make.

#include "engine/study/run_analyses.h"

#include <doctest/doctest.h>

#include "engine/core/files.h"
#include "tests/support/messages.h"
#include "tests/support/temporary_folder.h"

using namespace sculpt;
using namespace sculpt::testing;

namespace fs = std::filesystem;

TEST_CASE("run analyses: those that have failed are told from those that were not made yet") {
  const TemporaryFolder folder;
  const std::vector<std::string> all = {"flips", "hessian", "hessian --top 3", "prunes"};
  const fs::path failure = folder / "x.failed";
  CHECK(failed_analyses(folder.path(), all, failure).empty());
  note_failure(failure, "some lines\nthe analysis `flips` is mentioned\n", "", 3, 0);
  note_failure(failure, "some lines\nerror: no room\n", "hessian --top 3", 2, 0);
  note_failure(failure, "", "prunes", 137, 9);
  auto failed = failed_analyses(folder.path(), all, failure);
  REQUIRE(failed.size() == 2);
  CHECK(failed[0].analysis == "hessian --top 3");
  CHECK(failed[0].how == "ended with exit code 2");
  CHECK(failed[0].said == "error: no room");
  CHECK(failed[1].analysis == "prunes");
  CHECK(failed[1].how == "was ended by signal 9 (Killed)");
  CHECK(failed[1].said == "");
  CHECK(contains(read_text(failure), "the process ended with exit code 3\n"));
  // An analysis that was made since is not a failure.
  fs::create_directories(folder / "analysis");
  note_analysis(folder.path(), "prunes");
  CHECK(missing_analyses(folder.path(), all) ==
        std::vector<std::string>{"flips", "hessian", "hessian --top 3"});
  failed = failed_analyses(folder.path(), all, failure);
  REQUIRE(failed.size() == 1);
  CHECK(failed[0].analysis == "hessian --top 3");
}
