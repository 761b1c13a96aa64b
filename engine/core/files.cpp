#include "engine/core/files.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <iterator>
#include <unistd.h>
#include <utility>

#include "engine/core/error.h"

namespace sculpt {
namespace {

namespace fs = std::filesystem;

Bytes bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

[[noreturn]] void fail_to_write(const fs::path& path, int error) {
  const bool full = error == ENOSPC || error == EDQUOT || error == EFBIG;
  throw CannotWrite(fmt::format("cannot write {}: {}; {}", path.string(), std::strerror(error),
                                full ? "free some space" : "make the folder writable"));
}

/// A file that is being written. Every operation is checked for errors, including close().
class Output {
 public:
  Output(const fs::path& name, int flags, const fs::path& reported)
      : reported_(reported), fd_(::open(name.c_str(), flags | O_CLOEXEC, 0644)) {
    if (fd_ < 0) fail_to_write(reported_, errno);
  }
  ~Output() {
    if (fd_ >= 0) ::close(fd_);
  }
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  void write(Bytes data) {
    while (!data.empty()) {
      const ssize_t n = ::write(fd_, data.data(), data.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) fail_to_write(reported_, errno);
      data = data.subspan(static_cast<size_t>(n));
    }
  }

  void finish() {
    // Pipes and devices cannot be flushed, which is not an error here.
    if (::fsync(fd_) != 0 && errno != EINVAL && errno != EROFS) fail_to_write(reported_, errno);
    const int fd = std::exchange(fd_, -1);
    if (::close(fd) != 0) fail_to_write(reported_, errno);
  }

 private:
  const fs::path& reported_;
  int fd_;
};

}  // namespace

void flush_folder(const fs::path& folder) {
  const int fd = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  ::fsync(fd);  // some file systems cannot flush; the rename is still atomic there
  ::close(fd);
}

void write_file(const fs::path& path, std::span<const Bytes> parts) {
  fs::path temporary = path;
  temporary += kTemporarySuffix;
  try {
    Output output(temporary, O_WRONLY | O_CREAT | O_TRUNC, path);
    for (const Bytes& part : parts)
      output.write(part);
    output.finish();
    if (::rename(temporary.c_str(), path.c_str()) != 0) fail_to_write(path, errno);
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
  flush_folder(path.parent_path());
}

void write_file(const fs::path& path, std::string_view text) {
  const Bytes part = bytes_of(text);
  write_file(path, std::span(&part, 1));
}

void require_writable(const fs::path& folder) {
  fs::path place = fs::absolute(folder);
  std::error_code error;
  while (!fs::exists(place, error) && place.has_relative_path())
    place = place.parent_path();
  if (!fs::is_directory(place, error))
    throw CannotWrite(fmt::format("cannot write into {}: {} is not a folder; choose another folder",
                                  folder.string(), place.string()));
  const fs::path probe = place / fmt::format("probe-{}{}", ::getpid(), kTemporarySuffix);
  const int fd = ::open(probe.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd < 0) fail_to_write(folder, errno);
  ::close(fd);
  ::unlink(probe.c_str());
}

std::vector<std::byte> read_file(const fs::path& path) {
  const std::string text = read_text(path);
  const Bytes bytes = bytes_of(text);
  return {bytes.begin(), bytes.end()};
}

std::string read_text(const fs::path& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) fail("cannot read {}: it is a folder", path.string());
  std::ifstream file(path, std::ios::binary);
  if (!file) fail("cannot read {}: {}", path.string(), std::strerror(errno));
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (file.bad()) fail("cannot read {}: {}", path.string(), std::strerror(errno));
  return text;
}

void append_to_file(const fs::path& path, std::string_view text) {
  Output output(path, O_WRONLY | O_CREAT | O_APPEND, path);
  output.write(bytes_of(text));
  output.finish();
}

}  // namespace sculpt
