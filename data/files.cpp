#include "data/files.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "engine/core/error.h"

namespace sculpt::data {
namespace {

namespace fs = std::filesystem;
}  // namespace

std::string fetch_hint(const std::string& dataset, const std::string& root) {
  return fmt::format("'tools/get_data {} --to {}' fetches it", dataset,
                     root.empty() ? "DIR" : root);
}

void require_folder(const std::string& dataset, const std::string& root) {
  if (root.empty()) {
    fail("data.root is not set: {} is read from files; set data.root to their folder ({})", dataset,
         fetch_hint(dataset, root));
  }
  std::error_code error;
  if (!fs::is_directory(root, error)) {
    fail("data.root: no folder '{}'; {}", root, fetch_hint(dataset, root));
  }
}

std::string find_folder(const std::string& dataset, const std::string& root,
                        const std::string& subfolder, const std::string& file) {
  require_folder(dataset, root);
  std::error_code error;
  for (const fs::path& folder : {fs::path(root), fs::path(root) / subfolder}) {
    if (fs::exists(folder / file, error)) return folder.string();
  }
  fail("data.root: neither '{}' nor its subfolder '{}' holds {}; {}", root, subfolder, file,
       fetch_hint(dataset, root));
}

std::vector<uint8_t> read_file(const std::string& path, int64_t expected_bytes,
                               const std::string& dataset) {
  std::error_code error;
  if (!fs::exists(path, error)) {
    fail("{}: file not found; {}", path,
         fetch_hint(dataset, fs::path(path).parent_path().string()));
  }
  if (!fs::is_regular_file(path, error)) fail("{}: not a regular file", path);
  const uintmax_t size = fs::file_size(path, error);
  if (error) fail("{}: cannot be read: {}", path, error.message());
  if (expected_bytes >= 0 && size != static_cast<uintmax_t>(expected_bytes)) {
    fail(
        "{}: {} bytes where {} are expected ({}); delete it and fetch {} again with "
        "tools/get_data",
        path, size, expected_bytes,
        size < static_cast<uintmax_t>(expected_bytes) ? "truncated?" : "another file?", dataset);
  }
  std::ifstream in(path, std::ios::binary);
  if (!in) fail("{}: cannot be opened: {}", path, std::strerror(errno));
  std::vector<uint8_t> bytes(size);
  in.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(size));
  if (in.gcount() != static_cast<std::streamsize>(size)) {
    fail("{}: read error after {} of {} bytes", path, in.gcount(), size);
  }
  return bytes;
}

}  // namespace sculpt::data
