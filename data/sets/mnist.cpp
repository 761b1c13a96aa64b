#include "data/sets/mnist.h"

#include <filesystem>

#include "data/files.h"
#include "engine/core/error.h"
#include "engine/core/shell_word.h"

namespace sculpt::data {
namespace {

namespace fs = std::filesystem;

constexpr uint32_t kImagesMagic = 0x00000803;  // unsigned bytes, 3 dimensions
constexpr uint32_t kLabelsMagic = 0x00000801;  // unsigned bytes, 1 dimension
constexpr uint32_t kMaxSide = 1024;
constexpr int64_t kClasses = 10;

struct Source {
  const char* dataset;
  std::string root;

  std::string hint() const { return fetch_hint(dataset, root); }
};

/// Returns the path of a file, for example "train-images" + "idx3-ubyte", in either spelling.
std::string find_idx(const Source& source, const std::string& stem, const std::string& suffix) {
  std::error_code error;
  for (const char* separator : {"-", "."}) {
    const std::string path = source.root + "/" + stem + separator + suffix;
    if (fs::exists(path, error)) return path;
    if (fs::exists(path + ".gz", error)) {
      fail("{}.gz is compressed; unpack it with `gunzip -k {}.gz`", path, shell_word(path));
    }
  }
  fail("data.root: '{}' holds no {}-{}; {}", source.root, stem, suffix, source.hint());
}

uint32_t big_endian(const uint8_t* bytes) {
  return (uint32_t{bytes[0]} << 24) | (uint32_t{bytes[1]} << 16) | (uint32_t{bytes[2]} << 8) |
         uint32_t{bytes[3]};
}

struct Idx {
  std::vector<int64_t> dimensions;
  std::vector<uint8_t> bytes;  // header included
  size_t header_bytes = 0;
};

/// Reads a file whose header must have `magic` and whose payload must have the header's size.
Idx read_idx(const Source& source, const std::string& path, uint32_t magic) {
  Idx idx;
  idx.bytes = read_file(path, -1, source.hint());
  const size_t rank = magic & 0xffu;
  idx.header_bytes = 4 + 4 * rank;
  if (idx.bytes.size() < idx.header_bytes) {
    fail(
        "{}: the file has {} bytes, which are too few for an IDX header (is it truncated?); delete "
        "it, and {}",
        path, idx.bytes.size(), source.hint());
  }
  if (big_endian(idx.bytes.data()) != magic) {
    fail(
        "{}: the file starts with {:#010x}, but an IDX file of this kind starts with {:#010x} (is "
        "it another file?); delete it, and {}",
        path, big_endian(idx.bytes.data()), magic, source.hint());
  }
  uint64_t expected = idx.header_bytes;
  uint64_t items = 1;
  for (size_t d = 0; d < rank; ++d) {
    const uint32_t extent = big_endian(idx.bytes.data() + 4 + 4 * d);
    if (extent == 0 || (d > 0 && extent > kMaxSide)) {
      fail(
          "{}: dimension {} in the header is {}, but images must have 1 to {} pixels per side; "
          "delete the file, and {}",
          path, d, extent, kMaxSide, source.hint());
    }
    items *= extent;  // at most 2^32 * 2^20: no overflow
    idx.dimensions.push_back(extent);
  }
  expected += items;
  if (idx.bytes.size() != expected) {
    fail("{}: the file has {} bytes, but its header promises {} ({}); delete it, and {}", path,
         idx.bytes.size(), expected,
         idx.bytes.size() < expected ? "is it truncated?" : "is it damaged?", source.hint());
  }
  return idx;
}

Dataset read_split(const Source& source, const std::string& split) {
  const std::string image_path = find_idx(source, split + "-images", "idx3-ubyte");
  const std::string label_path = find_idx(source, split + "-labels", "idx1-ubyte");
  const Idx images = read_idx(source, image_path, kImagesMagic);
  const Idx labels = read_idx(source, label_path, kLabelsMagic);
  if (images.dimensions[0] != labels.dimensions[0]) {
    fail(
        "{} holds {} images, but {} holds {} labels, so they belong to different sets; delete both "
        "files, and {}",
        image_path, images.dimensions[0], label_path, labels.dimensions[0], source.hint());
  }
  Dataset set;
  set.name = source.dataset;
  set.shape = {1, images.dimensions[1], images.dimensions[2]};
  set.classes = kClasses;
  set.images.assign(images.bytes.begin() + static_cast<std::ptrdiff_t>(images.header_bytes),
                    images.bytes.end());
  for (size_t i = labels.header_bytes; i < labels.bytes.size(); ++i) {
    if (labels.bytes[i] >= kClasses) {
      fail(
          "{}: label {} is {}, but {} has classes 0 to {}; the file is damaged; delete it, and "
          "{}",
          label_path, i - labels.header_bytes, labels.bytes[i], source.dataset, kClasses - 1,
          source.hint());
    }
    set.labels.push_back(labels.bytes[i]);
  }
  return set;
}

TrainTest read_sets(const Source& source) {
  require_folder(source.dataset, source.root);
  TrainTest sets = {read_split(source, "train"), read_split(source, "t10k")};
  if (!(sets.train.shape == sets.test.shape)) {
    fail(
        "{}: the training images have {}x{} pixels, but the test images have {}x{}, so they belong "
        "to different sets; delete the files, and {}",
        source.root, sets.train.shape.height, sets.train.shape.width, sets.test.shape.height,
        sets.test.shape.width, source.hint());
  }
  return sets;
}

}  // namespace

TrainTest load_mnist(const std::string& root) {
  TrainTest sets = read_sets({"mnist", root});
  for (Dataset* set : {&sets.train, &sets.test}) {
    set->normalization = {{0.1307f}, {0.3081f}};
    set->mirror_safe = false;
    set->class_names = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"};
  }
  return sets;
}

TrainTest load_fashion_mnist(const std::string& root) {
  TrainTest sets = read_sets({"fashion_mnist", root});
  for (Dataset* set : {&sets.train, &sets.test}) {
    set->normalization = {{0.2860f}, {0.3530f}};
    set->class_names = {"t-shirt", "trouser", "pullover", "dress", "coat",
                        "sandal",  "shirt",   "sneaker",  "bag",   "ankle boot"};
  }
  return sets;
}

}  // namespace sculpt::data
