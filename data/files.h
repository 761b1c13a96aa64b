#pragma once
// Finds and reads the files of a data set. Errors say what to do.

#include <cstdint>
#include <string>
#include <vector>

namespace sculpt::data {

/// Throws Error if root is not a folder; the message says how to get the data set.
void require_folder(const std::string& dataset, const std::string& root);

/// Returns the end of every message about a missing file: "`tools/get_data NAME --to DIR` fetches
/// the data set", with the folder as a shell reads it. Files that lie in `root` itself are found
/// before those of any subfolder, so the command helps wherever a missing or damaged file lies.
std::string fetch_hint(const std::string& dataset, const std::string& root);

/// A way in which a data set is stored: the folder that its archive creates, and a file in that
/// folder.
struct Layout {
  const char* subfolder;
  const char* file;
};

/// The place where a data set was found.
struct Found {
  std::string folder;
  size_t layout;  ///< index of the layout in which it is stored
};

/// Searches root and root/subfolder for the file of each layout, in the order of `layouts`. Throws
/// Error if no file is found.
Found find_layout(const std::string& dataset, const std::string& root,
                  const std::vector<Layout>& layouts);

/// Returns the folder of a data set that has a single layout.
std::string find_folder(const std::string& dataset, const std::string& root,
                        const std::string& subfolder, const std::string& file);

/// Returns the whole file. If expected_bytes >= 0, any other size is an error. `hint` is
/// fetch_hint().
std::vector<uint8_t> read_file(const std::string& path, int64_t expected_bytes,
                               const std::string& hint);

}  // namespace sculpt::data
