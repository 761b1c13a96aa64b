// Whole files and growing ones, full disks included.

#include "engine/core/files.h"

#include <doctest/doctest.h>
#include <filesystem>

#include "tests/support/temporary_folder.h"

using namespace sculpt;
using sculpt::testing::contains;
using sculpt::testing::error_of;
using sculpt::testing::TemporaryFolder;

namespace fs = std::filesystem;

TEST_CASE("files: written whole, replaced whole, nothing left behind") {
  TemporaryFolder folder;
  write_file(folder / "a", std::string_view("first"));
  write_file(folder / "a", std::string_view("second, longer"));
  CHECK(read_text(folder / "a") == "second, longer");
  write_file(folder / "empty", std::string_view());
  CHECK(read_text(folder / "empty").empty());
  const auto entries = std::distance(fs::directory_iterator(folder.path()), {});
  CHECK(entries == 2);
}

TEST_CASE("files: a failed write names the file and leaves the old one") {
  TemporaryFolder folder;
  // The temporary file is a device that is always full.
  write_file(folder / "a", std::string_view("good"));
  fs::create_symlink("/dev/full", folder / ("a" + std::string(kTemporarySuffix)));
  const std::string message = error_of([&] { write_file(folder / "a", std::string_view("bad")); });
  CHECK(contains(message, (folder / "a").string()));
  CHECK(contains(message, "No space left on device"));
  CHECK(contains(message, "free some space"));
  CHECK(read_text(folder / "a") == "good");
  CHECK_FALSE(fs::exists(fs::symlink_status(folder / ("a" + std::string(kTemporarySuffix)))));

  CHECK(contains(error_of([&] { write_file(folder / "no/such/a", std::string_view("x")); }),
                 "no/such/a"));
}

TEST_CASE("files: the advice after a failed write is that of no program") {
  TemporaryFolder folder;
  fs::create_symlink("/dev/full", folder / "a");
  CHECK_THROWS_AS(append_to_file(folder / "a", "line\n"), CannotWrite);
  const std::string message = error_of([&] { append_to_file(folder / "a", "line\n"); });
  CHECK(message.ends_with("; free some space"));
}

TEST_CASE("files: a folder that cannot take files is found without leaving anything behind") {
  TemporaryFolder folder;
  require_writable(folder.path());
  require_writable(folder / "new/deep");
  CHECK(fs::is_empty(folder.path()));
  write_file(folder / "file", std::string_view());
  const std::string message = error_of([&] { require_writable(folder / "file/analysis"); });
  CHECK(contains(message, (folder / "file").string() + " is not a folder"));
  CHECK_THROWS_AS(require_writable("/proc/self"), CannotWrite);  // nobody may write there
}

TEST_CASE("files: appending to a full disk names the file") {
  TemporaryFolder folder;
  fs::create_symlink("/dev/full", folder / "metrics.jsonl");
  const std::string message = error_of([&] { append_to_file(folder / "metrics.jsonl", "line\n"); });
  CHECK(contains(message, (folder / "metrics.jsonl").string()));
  CHECK(contains(message, "No space left on device"));
}
