// Reading the files of CIFAR and MNIST, and what happens when they are not as they should be.

#include <algorithm>
#include <doctest/doctest.h>
#include <vector>

#include "data/registry.h"
#include "data/sets/cifar.h"
#include "data/sets/mnist.h"
#include "tests/data/fixtures.h"

namespace sculpt::data {
namespace {

using test::contains;
using test::error_of;
using test::random_bytes;
using test::TempDir;
using test::write_file;

constexpr size_t kPixelBytes = 3072;

/// `records` records; the last of `label_bytes` bytes is the label, (i * 7 + file) % classes.
std::vector<uint8_t> cifar_bytes(size_t records, size_t label_bytes, size_t classes, size_t file) {
  auto bytes = random_bytes(records * (label_bytes + kPixelBytes), 40 + file);
  for (size_t i = 0; i < records; ++i) {
    bytes[i * (label_bytes + kPixelBytes) + label_bytes - 1] =
        static_cast<uint8_t>((i * 7 + file) % classes);
  }
  return bytes;
}

void write_cifar10(const std::string& folder, size_t records) {
  for (size_t f = 1; f <= 5; ++f) {
    write_file(fmt::format("{}/data_batch_{}.bin", folder, f), cifar_bytes(records, 1, 10, f));
  }
  write_file(folder + "/test_batch.bin", cifar_bytes(records, 1, 10, 6));
}

std::vector<uint8_t> idx_bytes(const std::vector<uint32_t>& dimensions,
                               const std::vector<uint8_t>& payload) {
  std::vector<uint8_t> bytes = {0, 0, 8, static_cast<uint8_t>(dimensions.size())};
  for (const uint32_t d : dimensions) {
    for (const int shift : {24, 16, 8, 0})
      bytes.push_back(static_cast<uint8_t>(d >> shift));
  }
  bytes.insert(bytes.end(), payload.begin(), payload.end());
  return bytes;
}

std::vector<uint8_t> digit_labels(size_t count) {
  std::vector<uint8_t> labels(count);
  for (size_t i = 0; i < count; ++i)
    labels[i] = static_cast<uint8_t>((i * 3) % 10);
  return labels;
}

void write_mnist(const std::string& folder, const std::string& separator) {
  for (const auto& [stem, count] : {std::pair{"train", 12u}, std::pair{"t10k", 5u}}) {
    write_file(folder + "/" + stem + "-images" + separator + "idx3-ubyte",
               idx_bytes({count, 6, 4}, random_bytes(count * 24, count)));
    write_file(folder + "/" + stem + "-labels" + separator + "idx1-ubyte",
               idx_bytes({count}, digit_labels(count)));
  }
}

TEST_CASE("readers: CIFAR-10 is read from the folder and from the archive's subfolder") {
  for (const char* sub : {"", "/cifar-10-batches-bin"}) {
    TempDir dir;
    write_cifar10(dir.path() + sub, 9);
    const TrainTest sets = load_cifar10(dir.path(), 9);
    REQUIRE(sets.train.size() == 45);
    REQUIRE(sets.test.size() == 9);
    CHECK(sets.train.shape == ImageShape{3, 32, 32});
    CHECK(sets.train.class_names.size() == 10);
    CHECK(sets.train.class_names[9] == "truck");
    for (size_t i = 0; i < 45; ++i) {
      const size_t file = i / 9 + 1, record = i % 9;
      CHECK(sets.train.labels[i] == static_cast<int32_t>((record * 7 + file) % 10));
      const auto bytes = cifar_bytes(9, 1, 10, file);
      const uint8_t* pixels = bytes.data() + record * 3073 + 1;
      REQUIRE(std::equal(pixels, pixels + kPixelBytes, sets.train.image(static_cast<int64_t>(i))));
    }
  }
}

TEST_CASE("readers: CIFAR-100 takes the fine label") {
  for (const char* sub : {"", "/cifar-100-binary"}) {
    TempDir dir;
    write_file(dir.path() + sub + "/train.bin", cifar_bytes(30, 2, 100, 1));
    write_file(dir.path() + sub + "/test.bin", cifar_bytes(10, 2, 100, 2));
    const TrainTest sets = load_cifar100(dir.path(), 30, 10);
    REQUIRE(sets.train.size() == 30);
    CHECK(sets.train.class_names.size() == 100);
    CHECK(std::is_sorted(sets.train.class_names.begin(), sets.train.class_names.end()));
    for (size_t i = 0; i < 30; ++i) {
      CHECK(sets.train.labels[i] == static_cast<int32_t>((i * 7 + 1) % 100));
    }
    const auto bytes = cifar_bytes(10, 2, 100, 2);
    CHECK(std::equal(bytes.end() - kPixelBytes, bytes.end(), sets.test.image(9)));
  }
}

TEST_CASE("readers: CIFAR errors name file and fix") {
  TempDir dir;
  CHECK(contains(error_of([] { load_cifar10(""); }), "data.root is not set"));
  std::string message = error_of([&] { load_cifar10(dir / "nowhere"); });
  CHECK(contains(message, "nowhere"));
  CHECK(contains(message, "tools/get_data cifar10 --to"));
  message = error_of([&] { load_cifar10(dir.path()); });
  CHECK(contains(message, "data_batch_1.bin"));
  CHECK(contains(message, "tools/get_data cifar10 --to " + dir.path()));

  write_cifar10(dir.path(), 9);
  std::filesystem::remove(dir / "data_batch_4.bin");
  message = error_of([&] { load_cifar10(dir.path(), 9); });
  CHECK(contains(message, dir / "data_batch_4.bin"));
  CHECK(contains(message, "there is no such file"));
  std::filesystem::create_directory(dir / "data_batch_4.bin");
  CHECK(contains(error_of([&] { load_cifar10(dir.path(), 9); }), "not a regular file"));
  std::filesystem::remove(dir / "data_batch_4.bin");

  auto bytes = cifar_bytes(9, 1, 10, 4);
  bytes[3073 * 2] = 10;
  write_file(dir / "data_batch_4.bin", bytes);
  message = error_of([&] { load_cifar10(dir.path(), 9); });
  CHECK(contains(message, dir / "data_batch_4.bin"));
  CHECK(contains(message, "record 2 has label 10"));

  for (const size_t size : {size_t{0}, size_t{1}, size_t{3073}, size_t{9 * 3073 - 1}}) {
    bytes.resize(size);
    write_file(dir / "data_batch_4.bin", bytes);
    message = error_of([&] { load_cifar10(dir.path(), 9); });
    CHECK(contains(message, std::to_string(size) + " bytes, but 27657 are expected"));
    CHECK(contains(message, "truncated?"));
  }
  bytes.resize(9 * 3073 + 1);
  write_file(dir / "data_batch_4.bin", bytes);
  CHECK(contains(error_of([&] { load_cifar10(dir.path(), 9); }), "another file?"));
  // The real sizes are asked for by default: a file cut at a record is noticed.
  CHECK(contains(error_of([&] { load_cifar10(dir.path()); }), "30730000 are expected"));
}

TEST_CASE("readers: MNIST is read in both spellings of the names") {
  for (const char* separator : {"-", "."}) {
    TempDir dir;
    write_mnist(dir.path(), separator);
    const TrainTest sets = load_mnist(dir.path());
    REQUIRE(sets.train.size() == 12);
    REQUIRE(sets.test.size() == 5);
    CHECK(sets.train.shape == ImageShape{1, 6, 4});
    CHECK_FALSE(sets.train.mirror_safe);
    CHECK(sets.train.images == random_bytes(12 * 24, 12));
    for (size_t i = 0; i < 12; ++i)
      CHECK(sets.train.labels[i] == digit_labels(12)[i]);
    const TrainTest fashion = load_fashion_mnist(dir.path());
    CHECK(fashion.train.mirror_safe);
    CHECK(fashion.train.class_names.size() == 10);
    CHECK(fashion.test.images == sets.test.images);
  }
}

TEST_CASE("readers: MNIST errors name file and fix") {
  TempDir dir;
  CHECK(contains(error_of([] { load_mnist(""); }), "data.root is not set"));
  CHECK(contains(error_of([&] { load_mnist(dir.path()); }), "tools/get_data mnist --to"));
  CHECK(contains(error_of([&] { load_fashion_mnist(dir.path()); }), "get_data fashion_mnist"));
  write_file(dir / "train-images-idx3-ubyte.gz", {1, 2, 3});
  CHECK(contains(error_of([&] { load_mnist(dir.path()); }), "gunzip -k"));

  const auto message_with = [&](const char* name, const std::vector<uint8_t>& bytes) {
    TempDir fresh;
    write_mnist(fresh.path(), "-");
    write_file(fresh / name, bytes);
    const std::string message = error_of([&] { load_mnist(fresh.path()); });
    CHECK_MESSAGE(contains(message, name), message);
    return message;
  };
  const char* images = "train-images-idx3-ubyte";
  const char* labels = "t10k-labels-idx1-ubyte";
  CHECK(contains(message_with(images, {}), "too few"));
  CHECK(contains(message_with(images, {0, 0, 8, 3, 0}), "too few"));
  CHECK(
      contains(message_with(images, idx_bytes({12}, digit_labels(12))), "starts with 0x00000801"));
  CHECK(contains(message_with(images, idx_bytes({12, 6, 4}, random_bytes(12 * 24 - 1, 1))),
                 "303 bytes, but its header promises 304 (is it truncated?)"));
  CHECK(contains(message_with(images, idx_bytes({12, 6, 4}, random_bytes(12 * 24 + 1, 1))),
                 "damaged?"));
  CHECK(contains(message_with(images, idx_bytes({11, 6, 4}, random_bytes(11 * 24, 1))),
                 "holds 11 images"));
  CHECK(contains(message_with(images, idx_bytes({0, 6, 4}, {})), "dimension 0"));
  CHECK(contains(message_with(images, idx_bytes({12, 0, 4}, {})), "dimension 1"));
  auto wrong = digit_labels(5);
  wrong[3] = 10;
  CHECK(contains(message_with(labels, idx_bytes({5}, wrong)), "label 3 is 10"));

  TempDir mixed;
  write_mnist(mixed.path(), "-");
  write_file(mixed / images, idx_bytes({12, 4, 6}, random_bytes(12 * 24, 1)));
  CHECK(contains(error_of([&] { load_mnist(mixed.path()); }),
                 "training images have 4x6 pixels, but the test images have 6x4"));
}

TEST_CASE("readers: an IDX header with absurd sizes allocates nothing") {
  const std::vector<std::vector<uint32_t>> headers = {
      {0xffffffffu, 28, 28},         {60000, 0xffffffffu, 28},
      {60000, 28, 0xffffffffu},      {0xffffffffu, 0xffffffffu, 0xffffffffu},
      {0x80000000u, 0x80000000u, 4}, {0xffffffffu, 1024, 1024}};
  for (const auto& header : headers) {
    TempDir dir;
    write_mnist(dir.path(), "-");
    write_file(dir / "train-images-idx3-ubyte", idx_bytes(header, random_bytes(100, 2)));
    CHECK(contains(error_of([&] { load_mnist(dir.path()); }), "train-images-idx3-ubyte"));
  }
}

TEST_CASE("readers: random damage is an Error or a valid data set, never more") {
  const auto check_set = [](const Dataset& set) {
    REQUIRE(set.images.size() == static_cast<size_t>(set.size() * set.shape.count()));
    for (const int32_t label : set.labels)
      REQUIRE((label >= 0 && label < set.classes));
  };
  TempDir dir;
  int rejected = 0;
  for (uint64_t trial = 0; trial < 200; ++trial) {
    CAPTURE(trial);
    write_mnist(dir.path(), "-");
    const RandomStream stream(trial, Purpose::test, 9);
    const bool labels = stream.word(0) % 2 == 0;
    auto bytes = labels ? idx_bytes({12}, digit_labels(12))
                        : idx_bytes({12, 6, 4}, random_bytes(12 * 24, 12));
    switch (stream.below(1, 3)) {
      case 0:  // truncated
        bytes.resize(stream.below(2, bytes.size() + 1));
        break;
      case 1:  // a few bytes changed, most often in the header
        for (uint64_t k = 0; k < 1 + stream.below(3, 4); ++k) {
          bytes[stream.below(10 + k, k % 2 == 0 ? 8 : bytes.size())] =
              static_cast<uint8_t>(stream.word(20 + k));
        }
        break;
      default:  // noise
        bytes = random_bytes(stream.below(4, 400), trial);
    }
    write_file(dir / (labels ? "train-labels-idx1-ubyte" : "train-images-idx3-ubyte"), bytes);
    const std::string message = error_of([&] {
      const TrainTest sets = load_mnist(dir.path());
      check_set(sets.train);
      check_set(sets.test);
    });
    rejected += !message.empty();
  }
  CHECK(rejected > 150);

  write_cifar10(dir.path(), 2);
  for (uint64_t trial = 0; trial < 30; ++trial) {
    CAPTURE(trial);
    write_file(dir / "data_batch_3.bin", random_bytes(2 * 3073, trial));
    error_of([&] {
      const TrainTest sets = load_cifar10(dir.path(), 2);
      check_set(sets.train);
    });
  }
}

TEST_CASE("readers: the registry loads by name and lists what there is") {
  DataOptions options;
  options.synthetic_train = 20;
  options.synthetic_test = 10;
  CHECK(load_dataset(options).train.size() == 20);
  options.name = "cifar11";
  const std::string message = error_of([&] { load_dataset(options); });
  CHECK(contains(message, "there is no data set 'cifar11', did you mean \"cifar10\"?"));
  for (const std::string& name : dataset_names())
    CHECK(contains(message, name));
  for (const char* name : {"cifar10", "cifar100", "mnist", "fashion_mnist"}) {
    options.name = name;
    CHECK(contains(error_of([&] { load_dataset(options); }),
                   std::string(name) + " is read from files"));
  }
}

TEST_CASE("readers: blank data sets have the sizes of the real ones and need no files") {
  DataOptions options;
  options.synthetic_train = 20;
  options.synthetic_test = 10;
  const TrainTest real = load_dataset(options);
  const TrainTest blank = blank_dataset(options);
  CHECK(blank.train.size() == real.train.size());
  CHECK(blank.test.size() == real.test.size());
  CHECK(blank.train.shape == real.train.shape);
  CHECK(blank.train.classes == real.train.classes);
  for (const DatasetEntry& entry : dataset_table()) {
    options.name = entry.name;
    const TrainTest sets = blank_dataset(options);
    CHECK(sets.train.images.size() == static_cast<size_t>(sets.train.size() * entry.shape.count()));
    CHECK(sets.train.classes == entry.classes);
  }
}

}  // namespace
}  // namespace sculpt::data
