#include "kernels/tuning/choice_file.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <fcntl.h>
#include <fmt/format.h>
#include <fstream>
#include <sys/file.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace sculpt::kernels {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kVersionLine = "sculpt choices 1";

/// A lock that is held while the file is read, extended and replaced, which takes milliseconds. A
/// process that was stopped meanwhile may hold it for ever, so the wait is limited. Without the
/// lock, and on file systems that cannot lock, some lines may be lost at worst; these problems are
/// then measured again.
class FileLock {
 public:
  explicit FileLock(const fs::path& path)
      : fd_(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644)) {
    using namespace std::chrono_literals;
    const auto end = std::chrono::steady_clock::now() + 1s;
    while (fd_ >= 0 && ::flock(fd_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK &&
           std::chrono::steady_clock::now() < end)
      std::this_thread::sleep_for(10ms);
  }
  ~FileLock() {
    if (fd_ >= 0) ::close(fd_);
  }
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  int fd_;
};

fs::path with_suffix(fs::path path, const std::string& suffix) {
  path += suffix;
  return path;
}

std::vector<std::string> split(const std::string& line) {
  std::vector<std::string> fields(1);
  for (const char c : line) {
    if (c == '\t')
      fields.emplace_back();
    else
      fields.back() += c;
  }
  return fields;
}

std::optional<double> time_from(const std::string& text) {
  double value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end || !std::isfinite(value) || value < 0)
    return std::nullopt;
  return value;
}

/// Replaces tabs and line breaks, because a field is one line without tabs, and the name of a GPU
/// may contain any character.
std::string field(std::string text) {
  std::ranges::replace_if(
      text, [](char c) { return c == '\t' || c == '\n' || c == '\r'; }, ' ');
  return text;
}

}  // namespace

std::string_view to_string(Choice choice) {
  return choice == Choice::native ? "native" : choice == Choice::library ? "library" : "sparse";
}

std::optional<Choice> choice_from(std::string_view word) {
  for (const Choice choice : {Choice::native, Choice::library, Choice::sparse})
    if (word == to_string(choice)) return choice;
  return std::nullopt;
}

fs::path default_choice_file() {
  const auto variable = [](const char* name) {
    const char* const value = std::getenv(name);
    return fs::path(value == nullptr ? "" : value);
  };
  fs::path cache = variable("XDG_CACHE_HOME");
  if (!cache.is_absolute()) {  // the XDG specification says to ignore relative paths
    if (!variable("HOME").is_absolute()) return {};
    cache = variable("HOME") / ".cache";
  }
  return cache / "sculpt" / "choices.txt";
}

ChoiceFile::ChoiceFile(fs::path path, std::string machine, Warn warn)
    : path_(std::move(path)), machine_(field(std::move(machine))), warn_(std::move(warn)) {
  writable_ = !path_.empty();
  read();
}

std::optional<Choice> ChoiceFile::find(const std::string& problem) const {
  const auto row = rows_.find({machine_, field(problem)});
  if (row == rows_.end()) return std::nullopt;
  return row->second.choice;
}

Choice ChoiceFile::add(const std::string& problem, const Timing& timing) {
  const std::pair key(machine_, field(problem));
  const Row row = {timing.faster(), timing};
  if (!writable_) return rows_.try_emplace(key, row).first->second.choice;
  std::error_code error;
  fs::create_directories(path_.parent_path(), error);
  const FileLock lock(with_suffix(path_, ".lock"));
  read();
  const auto [kept, added] = rows_.try_emplace(key, row);
  if (added && writable_) write();
  return kept->second.choice;
}

std::optional<std::pair<ChoiceFile::Rows::key_type, ChoiceFile::Row>> ChoiceFile::parse(
    const std::string& line) {
  const std::vector<std::string> fields = split(line);
  if (fields.size() != 5) return std::nullopt;
  const auto choice = choice_from(fields[2]);
  const auto native = time_from(fields[3]), other = time_from(fields[4]);
  if (!choice || !native || !other) return std::nullopt;
  return std::pair(Rows::key_type(fields[0], fields[1]), Row{*choice, {*native, *other}});
}

void ChoiceFile::read() {
  if (path_.empty()) return;
  std::ifstream file(path_);
  std::string line;
  if (!file || !std::getline(file, line)) return;  // there is no file yet, or it is empty
  if (line != kVersionLine) {
    warn_once(
        fmt::format("{} was not written by this version of Sculpt, so it is not used, and choices "
                    "are measured in each run; remove the file to have choices kept",
                    path_.string()));
    return;
  }
  int damaged = 0;
  while (std::getline(file, line)) {
    auto row = parse(line);
    if (row)
      rows_.insert_or_assign(std::move(row->first), row->second);
    else
      ++damaged;
  }
  if (damaged > 0 && !std::exchange(told_of_damage_, true))
    warn_(fmt::format(
        "{}: {} unreadable lines are ignored; their choices are measured again if needed",
        path_.string(), damaged));
}

void ChoiceFile::write() {
  const fs::path temporary = with_suffix(path_, fmt::format(".{}.tmp", ::getpid()));
  std::ofstream file(temporary, std::ios::trunc);
  file << kVersionLine << '\n';
  for (const auto& [key, row] : rows_)
    file << fmt::format("{}\t{}\t{}\t{:.2f}\t{:.2f}\n", key.first, key.second,
                        to_string(row.choice), row.timing.native, row.timing.other);
  file.close();
  std::error_code error;
  if (file) fs::rename(temporary, path_, error);
  if (file && !error) return;
  std::error_code ignored;
  fs::remove(temporary, ignored);
  warn_once(fmt::format("cannot write {}, so measured choices are not kept for other runs",
                        path_.string()));
}

void ChoiceFile::warn_once(const std::string& text) {
  if (writable_) warn_(text);
  writable_ = false;
}

}  // namespace sculpt::kernels
