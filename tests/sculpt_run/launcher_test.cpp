// What the end of a launcher means for a person.

#include "apps/sculpt_run/launcher.h"

#include <csignal>
#include <doctest/doctest.h>

#include "apps/sculpt_run/command_line.h"
#include "engine/dist/communicator.h"
#include "tests/support/messages.h"

using namespace sculpt;
using namespace sculpt::testing;

TEST_CASE("launcher: exit codes") {
  for (const int code : {kExitOk, kExitFailed, kExitUsage, kExitInterrupted, kExitRankLost}) {
    const RunEnd end = translate({code, {}, 0});
    CHECK(end.exit_code == code);
    CHECK(end.text.empty());
  }
  const RunEnd killed = translate({128 + SIGKILL, {}, 0});
  CHECK(killed.exit_code == kExitRankLost);
  CHECK(contains(killed.text, "a rank was ended by signal 9 (Killed)"));
  CHECK(contains(killed.text, "--resume"));

  const RunEnd launcher = translate({0, SIGTERM, 0});
  CHECK(launcher.exit_code == kExitRankLost);
  CHECK(contains(launcher.text, "mpirun was ended by signal 15"));

  const RunEnd hung = translate({0, SIGKILL, 0, true});
  CHECK(hung.exit_code == kExitRankLost);
  CHECK(contains(hung.text, "mpirun went on although all ranks had ended"));

  const RunEnd other = translate({110, {}, 0});
  CHECK(other.exit_code == kExitFailed);
  CHECK(contains(other.text, "exit code 110"));
}

TEST_CASE("launcher: ranks that a second request has ended") {
  const RunEnd second = translate({128 + SIGUSR2, {}, 2});
  CHECK(second.exit_code == kExitInterrupted);
  CHECK(contains(second.text, "ended at once"));
  // The first request ends nobody, so somebody else has sent this signal.
  CHECK(translate({128 + SIGUSR2, {}, 1}).exit_code == kExitRankLost);
}
