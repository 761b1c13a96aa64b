// The order in which sculpt_study starts runs, its estimates, and what it shows.

#include "apps/sculpt_study/schedule.h"

#include <algorithm>
#include <cmath>
#include <csignal>
#include <doctest/doctest.h>
#include <random>

#include "apps/sculpt_study/display.h"
#include "apps/sculpt_study/isolated.h"
#include "apps/sculpt_study/overview.h"
#include "apps/sculpt_study/run_progress.h"
#include "engine/core/error.h"
#include "engine/core/files.h"
#include "tests/support/messages.h"
#include "tests/support/temporary_folder.h"

using namespace sculpt;
using namespace sculpt::testing;

TEST_CASE("schedule: random studies end, and needs come before the runs that need them") {
  std::mt19937 random(17);
  for (int repeat = 0; repeat < 200; ++repeat) {
    const size_t count = 1 + random() % 12;
    std::vector<ScheduledRun> runs(count);
    // A run needs only runs of a random order before it, so that there is no circle.
    std::vector<size_t> order(count);
    for (size_t i = 0; i < count; ++i)
      order[i] = i;
    std::shuffle(order.begin(), order.end(), random);
    for (size_t i = 1; i < count; ++i)
      if (random() % 3 == 0) runs[order[i]].needs.push_back(order[random() % i]);
    Schedule schedule(runs);
    std::vector<size_t> at_work;
    int steps = 0;
    while (!schedule.is_over()) {
      REQUIRE(++steps < 1000);
      const auto next = schedule.next();
      if (next && (at_work.empty() || random() % 2 == 0)) {
        for (const size_t need : schedule[*next].needs)
          CHECK(schedule[need].state == JobState::finished);
        // It is the first that may start.
        for (size_t i = 0; i < *next; ++i) {
          const bool ready = std::ranges::all_of(schedule[i].needs, [&](size_t need) {
            return schedule[need].state == JobState::finished;
          });
          CHECK_FALSE((schedule[i].state == JobState::waiting && ready));
        }
        schedule.set(*next, JobState::at_work);
        at_work.push_back(*next);
        continue;
      }
      REQUIRE_FALSE(at_work.empty());
      const size_t ended = random() % at_work.size();
      const JobState states[] = {JobState::finished, JobState::finished, JobState::failed,
                                 JobState::interrupted};
      schedule.set(at_work[ended], states[random() % 4]);
      at_work.erase(at_work.begin() + static_cast<std::ptrdiff_t>(ended));
    }
    // A run is blocked if and only if one of its needs has no result.
    for (size_t i = 0; i < count; ++i) {
      const bool lacks = std::ranges::any_of(schedule[i].needs, [&](size_t need) {
        return schedule[need].state != JobState::finished;
      });
      CHECK((schedule[i].state == JobState::blocked) == lacks);
    }
  }
}

TEST_CASE("schedule: runs of other processes are looked at again") {
  Schedule schedule({{"a", {}}, {"b", {}}});
  schedule.set(0, JobState::elsewhere);
  CHECK(schedule.next() == size_t{1});
  schedule.set(1, JobState::finished);
  CHECK_FALSE(schedule.next());
  CHECK_FALSE(schedule.is_over());
  CHECK(schedule.elsewhere() == std::vector<size_t>{0});
  schedule.set(0, JobState::waiting);
  CHECK(schedule.next() == size_t{0});
}

TEST_CASE("overview: the time of a study, against a simulation in small steps") {
  CHECK(makespan({}, 3) == 0);
  CHECK(makespan({5, 1, 1, 1}, 2) == 5);
  std::mt19937 random(2);
  for (int repeat = 0; repeat < 50; ++repeat) {
    std::vector<double> seconds(1 + random() % 9);
    for (double& length : seconds)
      length = static_cast<double>(1 + random() % 7);
    const int jobs = 1 + static_cast<int>(random() % 4);
    // One second at a time, `jobs` places.
    std::vector<double> left(static_cast<size_t>(jobs), 0);
    size_t next = 0;
    int clock = 0;
    for (;; ++clock) {
      for (double& place : left)
        if (place == 0 && next < seconds.size()) place = seconds[next++];
      if (std::ranges::all_of(left, [](double place) { return place == 0; })) break;
      for (double& place : left)
        place = std::max(0.0, place - 1);
    }
    CHECK(makespan(seconds, jobs) == clock);
  }
}

TEST_CASE("display: the lines say what is done, what runs, and what has failed") {
  ShownStudy study;
  study.name = "C4";
  study.runs = 12;
  study.finished = 3;
  study.epochs = 25;
  study.total_epochs = 100;
  study.seconds_left = NAN;
  CHECK(summary_line(study) == "C4 [####............] 3 of 12 runs finished");
  study.failed = 1;
  study.elsewhere = 2;
  study.seconds_left = 3700;
  study.running = {{"004-lrr-s1", 5, 10, 1000, 0.5}, {"005-lrr-s2", 0, 10, 0, NAN}};
  CHECK(summary_line(study) ==
        "C4 [####............] 3 of 12 runs finished, 2 running, 2 elsewhere, 1 failed, "
        "1.00 k images/s, about 1h01m left");
  CHECK(run_line(study.running[0]) ==
        "  [#####.....] 004-lrr-s1 epoch 5 of 10, accuracy 50.00 %, 1.00 k images/s");
  CHECK(run_line(study.running[1]) == "  [..........] 005-lrr-s2 epoch 0 of 10");
  const EpochClock clock(10);
  CHECK(std::isnan(clock.seconds_left(10, 20)));
  CHECK(clock.seconds_left(20, 20) == 0);
}

TEST_CASE("run progress: lines are followed, half lines wait, and a resumed run starts over") {
  TemporaryFolder folder;
  const auto file = folder / "metrics.jsonl";
  RunProgress progress(folder.path());
  CHECK(progress.epochs() == 0);
  CHECK(std::isnan(progress.test_accuracy()));
  const std::string first = "{\"epoch\": 1, \"images_per_second\": 50, \"test_accuracy\": 0.25}\n";
  const std::string second = "{\"epoch\": 2, \"images_per_second\": 70, \"test_accuracy\": null}\n";
  write_file(file, first + second.substr(0, 20));
  progress.update();
  CHECK(progress.epochs() == 1);
  CHECK(progress.images_per_second() == 50);
  write_file(file, first + second);
  progress.update();
  CHECK(progress.epochs() == 2);
  CHECK(progress.images_per_second() == 70);
  CHECK(progress.test_accuracy() == 0.25);
  write_file(file, first);
  progress.update();
  CHECK(progress.epochs() == 1);
}

TEST_CASE("isolated: results, errors and kills of the other process") {
  const std::string large(300000, 'x');
  CHECK(in_other_process([&] { return large; }) == large);
  CHECK(error_of([] { in_other_process([]() -> std::string { fail("no weight is kept"); }); }) ==
        "no weight is kept");
  CHECK(contains(error_of([] {
                   in_other_process([]() -> std::string {
                     raise(SIGKILL);
                     return "";
                   });
                 }),
                 "ended by signal 9"));
  int here = 1;
  in_other_process([&] {
    here = 2;
    return "";
  });
  CHECK(here == 1);
}
