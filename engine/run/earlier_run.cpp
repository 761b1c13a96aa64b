#include "engine/run/earlier_run.h"

#include <vector>

#include "engine/core/error.h"
#include "engine/core/files.h"

namespace sculpt {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "earlier-";
constexpr std::string_view kPartial = ".partial";

bool is_partial(const fs::path& path) {
  const std::string name = path.filename().string();
  if (!name.starts_with(kPrefix) || !name.ends_with(kPartial)) return false;
  const std::string number =
      name.substr(kPrefix.size(), name.size() - kPrefix.size() - kPartial.size());
  return !number.empty() && number.find_first_not_of("0123456789") == std::string::npos;
}

void check(const std::error_code& error, const fs::path& path) {
  if (error)
    fail("cannot move {}: {}; make the folder writable, and try again", path.string(),
         error.message());
}

void put_back(const fs::path& partial, const fs::path& root) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(partial))
    if (!entry.is_directory()) files.push_back(entry.path());
  std::error_code error;
  for (const fs::path& file : files) {
    const fs::path place = root / file.lexically_relative(partial);
    fs::create_directories(place.parent_path(), error);
    fs::rename(file, place, error);
    check(error, file);
    // Renaming does nothing if both names belong to one file.
    fs::remove(file, error);
  }
  flush_folder(root);
  // Only folders are left now.
  fs::remove_all(partial, error);
}

}  // namespace

EarlierRun::EarlierRun(const RunFolder& folder) : root_(folder.root()) {
  int number = 1;
  const auto name = [&] { return fmt::format("{}{}", kPrefix, number); };
  while (fs::exists(root_ / name()))
    ++number;
  kept_ = root_ / name();
  partial_ = root_ / (name() + std::string(kPartial));
  std::error_code error;
  fs::create_directories(partial_ / "checkpoints", error);
  if (error)
    fail("cannot make the folder {}: {}; make the run folder writable, and try again",
         partial_.string(), error.message());
}

EarlierRun::~EarlierRun() {
  if (done_) return;
  try {
    put_back(partial_, root_);
  } catch (const std::exception&) {
    // Another error is already being reported, so this one is dropped. The next run in this folder
    // rolls back.
  }
}

fs::path EarlierRun::place_of(const fs::path& file) const {
  return partial_ / file.lexically_relative(root_);
}

void EarlierRun::move(const fs::path& file) {
  std::error_code error;
  fs::rename(file, place_of(file), error);
  check(error, file);
}

void EarlierRun::copy(const fs::path& file) {
  std::error_code error;
  fs::create_hard_link(file, place_of(file), error);
  if (!error) return;
  const auto content = read_file(file);  // this file system has no links
  const Bytes part = content;
  write_file(place_of(file), std::span(&part, 1));
}

fs::path EarlierRun::keep() {
  std::error_code error;
  flush_folder(partial_ / "checkpoints");
  flush_folder(partial_);
  fs::rename(partial_, kept_, error);
  check(error, partial_);
  flush_folder(root_);
  done_ = true;
  return kept_;
}

void EarlierRun::roll_back(const RunFolder& folder) {
  std::error_code error;
  std::vector<fs::path> partial;
  for (const auto& entry : fs::directory_iterator(folder.root(), error))
    if (entry.is_directory() && is_partial(entry.path())) partial.push_back(entry.path());
  for (const fs::path& path : partial)
    put_back(path, folder.root());
}

}  // namespace sculpt
