// The analyses of a study: their arguments are checked early, and failed ones are known.

#include "apps/sculpt_study/analyses.h"

#include <doctest/doctest.h>

#include "apps/sculpt_study/run_log.h"
#include "engine/core/files.h"
#include "tests/support/messages.h"
#include "tests/support/temporary_folder.h"

using namespace sculpt;
using namespace sculpt::testing;

namespace fs = std::filesystem;

TEST_CASE("analyses: wrong arguments are named with their place, before anything runs") {
  const TemporaryFolder folder;
  write_file(folder / "base.toml", "method = \"imp\"\n[train]\nkeep = \"cycles\"\n");
  const auto error = [&](const std::string& analysis) {
    write_file(folder / "s.toml", "base = \"base.toml\"\nanalyze = [\"flips\", \"" + analysis +
                                      "\"]\n[vary]\nseed = [1, 2]\n");
    const Study study = read_study_file((folder / "s.toml").string(), {}, config_keys_of_studies());
    return error_of([&] { require_analyses(study, resolve(study)); });
  };
  for (const char* right :
       {"hessian --top 3 --trace", "all --images 64", "connectivity --between 1 2 --points 5",
        "surface --extent 0.5", "prunes", "hessian --set data.root=elsewhere --device cpu"}) {
    CAPTURE(right);
    CHECK(error(right) == "");
  }
  const std::pair<const char*, const char*> wrong[] = {
      {"hessian --tip 3", "there is no option --tip; did you mean --top?"},
      {"hessian --top many", "--top: many is not in range"},
      {"hessian --top 0", "--top"},
      {"connectivity --between 1", "--between"},
      {"connectivity --between 1 2 --cycles", "--cycles"},
      {"prunes 3", "'3' is one argument too many"},
      {"flips --help", "leave it out"},
      {"hessian --set data.rot=x", "did you mean data.root?"},
      {"hessian --threads 2", "--threads"},
  };
  for (const auto& [analysis, part] : wrong) {
    CAPTURE(analysis);
    const std::string message = error(analysis);
    CAPTURE(message);
    CHECK(contains(message, std::string("s.toml:2: the analysis `") + analysis + "`: "));
    CHECK(contains(message, part));
  }
}

TEST_CASE("analyses: the run stands before options with several values") {
  CHECK(analysis_command("a", "connectivity --between 1 2", "runs/x", 3) ==
        std::vector<std::string>{"a", "connectivity", "runs/x", "--between", "1", "2", "--threads",
                                 "3"});
}

TEST_CASE("run log: only the last attempt says that the folder is in use") {
  const TemporaryFolder folder;
  const fs::path log = folder / "x.log";
  CHECK_FALSE(says_in_use(log));
  log_attempt(log, {"sculpt_run", "a b.toml"});
  CHECK(contains(read_text(log), " sculpt_run 'a b.toml'\n"));
  append_to_file(log, "error: runs/x is in use by process 7\n");
  CHECK(says_in_use(log));
  log_attempt(log, {"sculpt_run"});
  append_to_file(log, "error: something else\n");
  CHECK_FALSE(says_in_use(log));
}
