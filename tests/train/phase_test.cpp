// Phases: what a watcher sees, and runs that are interrupted within phases and then resumed.

#include "engine/core/phase.h"

#include <doctest/doctest.h>
#include <thread>

#include "engine/core/files.h"
#include "engine/run/run_folder.h"
#include "engine/sparse/criteria.h"
#include "tests/support/looks.h"
#include "tests/support/run_results.h"
#include "tests/support/tiny_run.h"

using namespace sculpt;
using namespace sculpt::testing;

TEST_CASE("phase: the watcher sees the innermost phase and its parts") {
  Looks looks;
  check_stop();  // outside of a phase
  CHECK(looks.looks == 0);
  {
    Phase outer("outer", 10);
    outer.advance(3);
    CHECK(looks.last.name == "outer");
    CHECK(looks.last.done == 3);
    CHECK(looks.last.total == 10);
    {
      const Phase inner("inner");
      check_stop();
      CHECK(looks.last.name == "inner");
      CHECK(looks.last.total == 0);
    }
    check_stop();
    CHECK(looks.last.name == "outer");
    CHECK(looks.last.done == 3);
    std::thread([] { check_stop(); }).join();  // a phase belongs to its thread
  }
  CHECK(looks.looks == 3);
  CHECK(looks.ends == 2);
  check_stop();
  CHECK(looks.looks == 3);
}

TEST_CASE("phase: an interrupted phase ends, and the one around it counts again") {
  Looks looks(0);
  Phase outer("outer", 2);
  CHECK_THROWS_AS(
      [] {
        Phase inner("inner", 2);
        inner.advance();
      }(),
      Interrupted);
  CHECK(looks.ends == 1);
  outer.advance();
  CHECK(looks.last.name == "outer");
}

// A signal may arrive at every look of the watcher. The interrupted session and the session that
// resumes it give the bytes of an uninterrupted run.
TEST_CASE("phase: a run interrupted within any phase and resumed ends with the same bytes") {
  for (const Criterion& criterion : criteria()) {
    CAPTURE(criterion.name);
    for (const bool prune_first : {true, false}) {
      CAPTURE(prune_first);
      Plan plan = {PruneStep{std::string(criterion.name), "erk", 0.5}, Cycle{1},
                   PruneStep{std::string(criterion.name), "erk", 0.25}};
      if (!prune_first) plan.insert(plan.begin(), Cycle{1});
      const auto session = [&](const std::filesystem::path& folder, bool resume) {
        TrainOptions options = TinyRun::tiny_options();
        options.execution.sparse = "on";  // with timing of dense kernels
        TinyRun run(folder, plan, options);
        std::vector<std::string> warnings;
        resume ? run.trainer().resume(warnings) : run.trainer().start();
        CHECK(warnings.empty());
        const bool interrupted = run.trainer().run() == RunOutcome::interrupted;
        // The files agree with the outcome that the trainer reports.
        if (interrupted && run.trainer().state().saves == 0)
          CHECK(std::filesystem::is_empty(RunFolder(folder).checkpoints()));
        return interrupted;
      };
      TemporaryFolder whole;
      int64_t looks = 0;
      {
        const Looks counter;
        REQUIRE_FALSE(session(whole.path(), false));
        looks = counter.looks;
        CHECK(counter.names.count("evaluating") == 1);
        if (criterion.name == "synflow") CHECK(counter.names.count("synflow rounds") == 1);
      }
      REQUIRE(looks > 10);
      const auto expected = final_of(whole.path());
      const std::string layers = read_text(RunFolder(whole.path()).layers());
      for (int64_t moment = 0; moment < looks; moment += 1 + looks / 12) {
        CAPTURE(moment);
        TemporaryFolder folder;
        {
          const Looks stop(moment);
          // Timing of dense kernels takes as many steps as there is time for, so the last looks may
          // be missing.
          if (!session(folder.path(), false)) continue;
          CHECK(stop.looks == moment + 1);  // nothing long went on after it
        }
        CHECK_FALSE(std::filesystem::exists(RunFolder(folder.path()).summary()));
        REQUIRE_FALSE(session(folder.path(), true));
        CHECK((final_of(folder.path()) == expected));
        CHECK((read_text(RunFolder(folder.path()).layers()) == layers));
      }
    }
  }
}
