#pragma once
// Small data sets and file trees for the tests of data/.

#include <doctest/doctest.h>
#include <filesystem>
#include <fstream>
#include <stdlib.h>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "engine/core/error.h"
#include "engine/core/random.h"
#include "tests/support/messages.h"

namespace sculpt::data::test {

/// A folder that is removed with the object.
class TempDir {
 public:
  TempDir() {
    std::string name = (std::filesystem::temp_directory_path() / "sculpt_data_XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  std::string path() const { return path_.string(); }
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

inline void write_file(const std::string& path, const std::vector<uint8_t>& bytes) {
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  std::ofstream out(path, std::ios::binary);
  out.write(reinterpret_cast<const char*>(bytes.data()),
            static_cast<std::streamsize>(bytes.size()));
  REQUIRE(out.good());
}

inline std::vector<uint8_t> random_bytes(size_t count, uint64_t seed) {
  const RandomStream stream(seed, Purpose::test);
  std::vector<uint8_t> bytes(count);
  for (size_t i = 0; i < count; ++i)
    bytes[i] = static_cast<uint8_t>(stream.word(i));
  return bytes;
}

/// Random pixels; labels 0, 1, ..., classes-1, 0, ...
inline Dataset random_set(int64_t size, ImageShape shape, int64_t classes, uint64_t seed) {
  Dataset set;
  set.name = "random";
  set.shape = shape;
  set.classes = classes;
  for (int64_t c = 0; c < classes; ++c)
    set.class_names.push_back(fmt::format("c{}", c));
  set.normalization.mean.assign(static_cast<size_t>(shape.channels), 0.4f);
  set.normalization.std.assign(static_cast<size_t>(shape.channels), 0.2f);
  set.images = random_bytes(static_cast<size_t>(size * shape.count()), seed);
  for (int64_t i = 0; i < size; ++i)
    set.labels.push_back(static_cast<int32_t>(i % classes));
  return set;
}

inline Subset everything(Dataset set) {
  Subset subset;
  for (int64_t i = 0; i < set.size(); ++i)
    subset.indices.push_back(static_cast<int32_t>(i));
  subset.dataset = std::make_shared<const Dataset>(std::move(set));
  return subset;
}

using testing::contains;
using testing::error_of;

}  // namespace sculpt::data::test
