#include "data/files.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "engine/core/error.h"
#include "engine/core/phase.h"
#include "engine/core/shell_word.h"

namespace sculpt::data {
namespace {

namespace fs = std::filesystem;

constexpr size_t kBytesAtOnce = size_t{1} << 20;  // small, so that slow file systems show progress

}  // namespace

std::string fetch_hint(const std::string& dataset, const std::string& root) {
  return fmt::format("`tools/get_data {} --to {}` fetches the data set", dataset,
                     root.empty() ? "DIR" : shell_word(root));
}

void require_folder(const std::string& dataset, const std::string& root) {
  if (root.empty()) {
    fail("data.root is not set: {} is read from files; set data.root to their folder ({})", dataset,
         fetch_hint(dataset, root));
  }
  std::error_code error;
  if (!fs::is_directory(root, error)) {
    fail("data.root: there is no folder '{}'; {}", root, fetch_hint(dataset, root));
  }
}

Found find_layout(const std::string& dataset, const std::string& root,
                  const std::vector<Layout>& layouts) {
  require_folder(dataset, root);
  std::error_code error;
  std::string missing;
  for (size_t l = 0; l < layouts.size(); ++l) {
    for (const fs::path& folder : {fs::path(root), fs::path(root) / layouts[l].subfolder})
      if (fs::exists(folder / layouts[l].file, error)) return {folder.string(), l};
    missing += fmt::format("{}neither '{}' nor its subfolder '{}' holds {}", l > 0 ? ", and " : "",
                           root, layouts[l].subfolder, layouts[l].file);
  }
  fail("data.root: {}; {}", missing, fetch_hint(dataset, root));
}

std::string find_folder(const std::string& dataset, const std::string& root,
                        const std::string& subfolder, const std::string& file) {
  return find_layout(dataset, root, {{subfolder.c_str(), file.c_str()}}).folder;
}

std::vector<uint8_t> read_file(const std::string& path, int64_t expected_bytes,
                               const std::string& hint) {
  std::error_code error;
  if (!fs::exists(path, error)) fail("{}: there is no such file; {}", path, hint);
  if (!fs::is_regular_file(path, error))
    fail("{}: this is not a regular file; move it away, and {}", path, hint);
  const uintmax_t size = fs::file_size(path, error);
  if (error) fail("{}: the file cannot be read: {}", path, error.message());
  if (expected_bytes >= 0 && size != static_cast<uintmax_t>(expected_bytes)) {
    fail("{}: the file has {} bytes, but {} are expected ({}); delete it, and {}", path, size,
         expected_bytes,
         size < static_cast<uintmax_t>(expected_bytes) ? "is it truncated?" : "is it another file?",
         hint);
  }
  std::ifstream in(path, std::ios::binary);
  if (!in) fail("{}: the file cannot be opened: {}", path, std::strerror(errno));
  std::vector<uint8_t> bytes(size);
  Phase phase("reading " + path, static_cast<int64_t>(size));
  for (size_t done = 0; done < bytes.size();) {
    const size_t piece = std::min(kBytesAtOnce, bytes.size() - done);
    in.read(reinterpret_cast<char*>(bytes.data() + done), static_cast<std::streamsize>(piece));
    done += static_cast<size_t>(in.gcount());
    if (in.gcount() != static_cast<std::streamsize>(piece))
      fail("{}: reading failed after {} of {} bytes; delete it, and {}", path, done, size, hint);
    phase.advance(static_cast<int64_t>(piece));
  }
  return bytes;
}

}  // namespace sculpt::data
