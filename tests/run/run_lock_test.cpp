// One process at a time in a run folder: holders that live, that died, that moved to another host,
// and many that want a stale lock at the same moment.

#include "engine/run/run_lock.h"

#include <atomic>
#include <doctest/doctest.h>
#include <memory>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>

#include "engine/core/files.h"
#include "engine/run/lock_holder.h"
#include "tests/support/temporary_folder.h"

using namespace sculpt;
using namespace sculpt::testing;

namespace fs = std::filesystem;

namespace {

/// Describes a process that has the number of this process but started at another time, so it is
/// dead.
LockHolder dead_process() {
  LockHolder holder = this_process();
  holder.start_tick -= 1;
  return holder;
}

LockHolder process_of_another_host() {
  LockHolder holder = this_process();
  holder.host = "elsewhere";
  holder.machine = "another boot";
  return holder;
}

void write_lock(const fs::path& folder, const LockHolder& holder, std::chrono::seconds age = {}) {
  const fs::path path = folder / RunLock::kName;
  write_file(path, to_json(holder));
  fs::last_write_time(path, fs::last_write_time(path) - age);
}

std::string token_in(const fs::path& path) {
  const auto holder = parse_holder(read_text(path));
  return holder ? holder->token : "";
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder))
    names.push_back(entry.path().filename().string());
  return names;
}

}  // namespace

TEST_CASE("run lock: a second one is refused, and names host, process and start of the first") {
  TemporaryFolder parent;
  const fs::path folder = parent / "runs/deep";
  {
    RunLock first(folder);
    CHECK_FALSE(first.previous_holder());
    const auto holder = parse_holder(read_text(folder / RunLock::kName));
    REQUIRE(holder);
    CHECK(holder->pid == ::getpid());
    CHECK(life_of(*holder) == Life::alive);
    CHECK(holder->folder == fs::canonical(folder).string());
    const std::string message = error_of([&] { RunLock second(folder); });
    CHECK(contains(message, folder.string()));
    CHECK(contains(message, "process " + std::to_string(::getpid()) + " on " + holder->host));
    CHECK(contains(message, "started " + holder->started));
    CHECK(contains(message, "--out"));
    CHECK_FALSE(contains(message, "copy"));
    CHECK(names_in(folder) == std::vector<std::string>{RunLock::kName});
    first.require_held();
  }
  // The folders that the lock created are gone, because nothing was written into them.
  CHECK_FALSE(fs::exists(parent / "runs"));
}

TEST_CASE("run lock: that of a copied folder is refused, and the message says what to remove") {
  TemporaryFolder parent;
  const RunLock first(parent / "run");
  fs::copy(parent / "run", parent / "copy");
  const std::string message = error_of([&] { RunLock second(parent / "copy"); });
  CHECK(contains(message, "works in " + fs::canonical(parent / "run").string()));
  CHECK(contains(message, "remove the copied lock, " + (parent / "copy/run.lock").string()));
  fs::remove(parent / "copy/run.lock");
  const RunLock second(parent / "copy");
}

TEST_CASE("run lock: by another path to the same folder it is held, and not a copy") {
  TemporaryFolder parent;
  const RunLock first(parent / "run");
  fs::create_directory_symlink(parent / "run", parent / "link");
  const std::string message = error_of([&] { RunLock second(parent / "link"); });
  CHECK(contains(message, "in use by process"));
  CHECK_FALSE(contains(message, "copy"));
}

TEST_CASE("run lock: a folder whose name is not UTF-8, and a lock of an earlier version") {
  TemporaryFolder parent;
  const fs::path folder = parent / "run-\xff";
  {
    const RunLock first(folder);
    const std::string message = error_of([&] { RunLock second(folder); });
    CHECK(contains(message, "in use by process"));
    CHECK_FALSE(contains(message, "copy"));
  }
  LockHolder earlier = this_process();
  std::string json = to_json(earlier);
  const size_t begin = json.find(",\n  \"folder\"");
  REQUIRE(begin != std::string::npos);
  json.erase(begin, json.rfind('\n', json.size() - 2) - begin);
  const auto holder = parse_holder(json);
  REQUIRE(holder);
  CHECK(holder->folder.empty());
  fs::create_directory(parent / "old");
  write_file(parent / "old/run.lock", json);
  const std::string message = error_of([&] { RunLock second(parent / "old"); });
  CHECK(contains(message, "in use by process"));
  CHECK_FALSE(contains(message, "copy"));
}

TEST_CASE("run lock: something else than a file in its place is named") {
  TemporaryFolder parent;
  const fs::path lock = parent / RunLock::kName;
  const auto message = [&] { return error_of([&] { RunLock second(parent.path()); }); };
  fs::create_directory(lock);
  CHECK(contains(message(), lock.string() + " is a folder"));
  CHECK(contains(message(), "move it away, or choose another folder with --out"));
  fs::remove(lock);
  REQUIRE(::mkfifo(lock.c_str(), 0600) == 0);
  CHECK(contains(message(), lock.string() + " is a device or a pipe"));
  fs::remove(lock);
  fs::create_symlink("nowhere", lock);
  CHECK(contains(message(), lock.string() + " is a symbolic link"));
  fs::remove(lock);
  CHECK(message().empty());
}

TEST_CASE("run lock: giving it back leaves what a run has written") {
  TemporaryFolder parent;
  const fs::path folder = parent / "run";
  {
    RunLock lock(folder);
    write_file(folder / "config.toml", std::string_view("x"));
  }
  CHECK(names_in(folder) == std::vector<std::string>{"config.toml"});
  RunLock again(folder);
}

TEST_CASE("run lock: that of a dead process of this machine is taken over at once") {
  TemporaryFolder folder;
  const LockHolder dead = dead_process();
  CHECK(life_of(dead) == Life::dead);
  write_lock(folder.path(), dead);
  {
    const RunLock lock(folder.path());
    REQUIRE(lock.previous_holder());
    CHECK(lock.previous_holder()->token == dead.token);
    CHECK(token_in(folder / RunLock::kName) != dead.token);
    CHECK(names_in(folder.path()) == std::vector<std::string>{RunLock::kName});
  }
  CHECK(names_in(folder.path()).empty());
}

TEST_CASE("run lock: that of another host ends three minutes after its last sign of life") {
  TemporaryFolder folder;
  const LockHolder other = process_of_another_host();
  CHECK(life_of(other) == Life::unknown);
  write_lock(folder.path(), other, std::chrono::seconds(160));
  const std::string message = error_of([&] { const RunLock lock(folder.path()); });
  CHECK(contains(message, " on elsewhere"));
  CHECK(contains(message, "sign of life 16"));
  CHECK(contains(message, "free "));
  CHECK(token_in(folder / RunLock::kName) == other.token);

  write_lock(folder.path(), other, std::chrono::seconds(200));
  const RunLock lock(folder.path());
  REQUIRE(lock.previous_holder());
  CHECK(lock.previous_holder()->host == "elsewhere");
}

TEST_CASE("run lock: the holder shows signs of life") {
  TemporaryFolder folder;
  const RunLock lock(folder.path(), {.renewal = std::chrono::milliseconds(5)});
  const fs::path path = folder / RunLock::kName;
  const auto old = fs::last_write_time(path) - std::chrono::minutes(10);
  fs::last_write_time(path, old);
  for (int i = 0; i < 100000 && fs::last_write_time(path) == old; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  CHECK(fs::last_write_time(path) > old + std::chrono::minutes(9));
}

TEST_CASE("run lock: a holder that lost the lock is told, and leaves it to the new one") {
  TemporaryFolder folder;
  const LockHolder other = process_of_another_host();
  {
    RunLock lock(folder.path());
    write_lock(folder.path(), other);
    lock.require_not_lost();  // nobody has looked yet
    const std::string message = error_of([&] { lock.require_held(); });
    CHECK(contains(message, "taken over by process"));
    CHECK(contains(message, " on elsewhere"));
    CHECK_FALSE(error_of([&] { lock.require_not_lost(); }).empty());
  }
  CHECK(token_in(folder / RunLock::kName) == other.token);
}

TEST_CASE("run lock: a lock file that somebody removed is made again, unless it is taken") {
  TemporaryFolder folder;
  RunLock lock(folder.path());
  const std::string token = token_in(folder / RunLock::kName);
  fs::remove(folder / RunLock::kName);
  lock.require_held();
  CHECK(token_in(folder / RunLock::kName) == token);
  fs::remove(folder / RunLock::kName);
  RunLock thief(folder.path());
  CHECK(contains(error_of([&] { lock.require_held(); }), "taken over"));
  thief.require_held();

  RunLock in_removed_folder(folder / "run");
  fs::remove_all(folder / "run");
  CHECK(contains(error_of([&] { in_removed_folder.require_held(); }), "has been removed"));
}

TEST_CASE("run lock: a foreign file of that name is left alone") {
  TemporaryFolder folder;
  write_file(folder / RunLock::kName, std::string_view("my notes"));
  fs::last_write_time(folder / RunLock::kName,
                      fs::file_time_type::clock::now() - std::chrono::hours(1));
  CHECK(contains(error_of([&] { const RunLock lock(folder.path()); }), "not a lock"));
  CHECK(read_text(folder / RunLock::kName) == "my notes");
}

TEST_CASE("run lock: an empty lock file, made by a process that died then, ends after the time") {
  TemporaryFolder folder;
  write_file(folder / RunLock::kName, std::string_view());
  CHECK_FALSE(error_of([&] { const RunLock lock(folder.path()); }).empty());
  fs::last_write_time(folder / RunLock::kName,
                      fs::file_time_type::clock::now() - std::chrono::hours(1));
  RunLock lock(folder.path());
  lock.require_held();
}

TEST_CASE("run lock: a process that died while it took a lock over is in nobody's way") {
  TemporaryFolder folder;
  const LockHolder dead = dead_process(), claimant = dead_process(), second = dead_process();
  const auto claim = [&](const LockHolder& holder) {
    return folder / (std::string(RunLock::kName) + "." + holder.token + ".claim");
  };
  write_lock(folder.path(), dead);
  write_file(claim(dead), to_json(claimant));
  write_file(claim(claimant), to_json(second));
  {
    RunLock lock(folder.path());
    lock.require_held();
    CHECK(names_in(folder.path()) == std::vector<std::string>{RunLock::kName});
  }
  // A claimant that is alive will soon hold the lock.
  write_lock(folder.path(), dead);
  write_file(claim(dead), to_json(this_process()));
  CHECK(contains(error_of([&] { const RunLock lock(folder.path()); }), "is in use"));
}

TEST_CASE("run lock: leftovers of killed processes are removed once they are old") {
  TemporaryFolder folder;
  const fs::path old_claim = folder / "run.lock.0123abcd.claim",
                 young = folder / "run.lock.9-1.new";
  const fs::path foreign = folder / "run.lock.txt";
  for (const fs::path& path : {old_claim, young, foreign})
    write_file(path, std::string_view("x"));
  for (const fs::path& path : {old_claim, foreign})
    fs::last_write_time(path, fs::last_write_time(path) - std::chrono::hours(1));
  const RunLock lock(folder.path());
  CHECK_FALSE(fs::exists(old_claim));
  CHECK(fs::exists(young));
  CHECK(fs::exists(foreign));
}

TEST_CASE("run lock: of many that want a free or a stale lock at one moment, exactly one gets it") {
  for (int round = 0; round < 60; ++round) {
    CAPTURE(round);
    TemporaryFolder folder;
    // Free; stale; stale with the claim of another dead process.
    const LockHolder dead = dead_process();
    if (round % 3 > 0) write_lock(folder.path(), dead);
    if (round % 3 == 2)
      write_file(folder / (std::string(RunLock::kName) + "." + dead.token + ".claim"),
                 to_json(dead_process()));
    constexpr int kThreads = 6;
    std::atomic<int> waiting = 0, got = 0, refused = 0;
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t)
      threads.emplace_back([&] {
        ++waiting;
        while (waiting < kThreads)
          std::this_thread::yield();
        std::unique_ptr<RunLock> lock;
        const std::string message =
            error_of([&] { lock = std::make_unique<RunLock>(folder.path()); });
        ++(message.empty() ? got : refused);
        while (got + refused < kThreads)  // the winner keeps the lock for as long
          std::this_thread::yield();
        if (lock) lock->require_held();
      });
    for (std::thread& thread : threads)
      thread.join();
    CHECK(got == 1);
    CHECK(refused == kThreads - 1);
    CHECK(names_in(folder.path()).empty());
  }
}

TEST_CASE("run lock: folders that cannot be made name the way out") {
  TemporaryFolder folder;
  write_file(folder / "file", std::string_view("x"));
  CHECK(contains(error_of([&] { const RunLock lock(folder / "file"); }), "not a folder"));
  const std::string message = error_of([&] { const RunLock lock(folder / "file/run"); });
  CHECK(contains(message, "cannot make the folder " + (folder / "file/run").string()));
  CHECK(contains(message, "--out"));
}

TEST_CASE("run lock: signals of life do not need a whole file: text and holder go both ways") {
  const LockHolder self = this_process();
  const auto back = parse_holder(to_json(self));
  REQUIRE(back);
  CHECK(back->host == self.host);
  CHECK(back->machine == self.machine);
  CHECK(back->pid == self.pid);
  CHECK(back->start_tick == self.start_tick);
  CHECK(back->started == self.started);
  CHECK(back->token == self.token);
  for (const char* text : {"", "{}", "[1]", "{\"sculpt_lock\": 1}", "half {",
                           R"({"sculpt_lock":1,"host":"h","pid":"x","started":"","machine":"",
                               "start_tick":1,"token":"ab"})",
                           R"({"sculpt_lock":1,"host":"h","pid":1,"started":"","machine":"",
                               "start_tick":1,"token":"../x"})"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_holder(text));
  }
}
