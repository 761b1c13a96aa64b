// CIFAR as pickled for Python: files that Python's pickle writes, damaged ones, and ones that are
// programs. The binary reader is the reference.

#include <cstdlib>
#include <doctest/doctest.h>

#include "data/sets/cifar.h"
#include "data/sets/pickle.h"
#include "tests/data/fixtures.h"

using namespace sculpt;
using namespace sculpt::data;
using namespace sculpt::data::test;

namespace {

constexpr size_t kPixelBytes = 3072;

std::vector<uint8_t> records(size_t count, size_t label_bytes, size_t classes, uint64_t seed) {
  std::vector<uint8_t> bytes = random_bytes(count * (label_bytes + kPixelBytes), seed);
  for (size_t i = 0; i < count; ++i)
    for (size_t l = 0; l < label_bytes; ++l) {
      uint8_t& label = bytes[i * (label_bytes + kPixelBytes) + l];
      label = static_cast<uint8_t>(label % (l + 1 < label_bytes ? 20 : classes));
    }
  return bytes;
}

/// Pickles all files of dir/bin into dir/`folder`.
void write_pickles(const std::string& style, const std::string& set, const TempDir& dir,
                   const std::string& folder) {
  const std::string command = "python3 -B tests/data/write_pickles.py " + style + " " + set + " " +
                              dir / "bin" + " " + dir / folder;
  REQUIRE(std::system(command.c_str()) == 0);
}

void check_equal(const TrainTest& a, const TrainTest& b) {
  CHECK((a.train.labels == b.train.labels));
  CHECK((a.test.labels == b.test.labels));
  CHECK((a.train.images == b.train.images));
  CHECK((a.test.images == b.test.images));
  CHECK(a.train.class_names == b.train.class_names);
}

std::vector<uint8_t> bytes_of(const std::string& text) {
  return {text.begin(), text.end()};
}

std::string error_in(const std::string& pickle) {
  return error_of([&] { const Pickle read(pickle, 1000); });
}

/// CIFAR-10 of 9 records a file: binary in dir/bin, pickled in dir/cifar-10-batches-py.
void write_cifar10(const TempDir& dir, const std::string& style) {
  for (uint64_t file = 1; file <= 5; ++file)
    write_file(dir / fmt::format("bin/data_batch_{}.bin", file), records(9, 1, 10, file));
  write_file(dir / "bin/test_batch.bin", records(9, 1, 10, 6));
  write_pickles(style, "cifar10", dir, "cifar-10-batches-py");
}

}  // namespace

TEST_CASE(
    "cifar pickle: pickled CIFAR-10 is what the binary version is, whichever Python wrote it") {
  for (const char* style : {"python2", "2", "3", "4", "5"}) {
    CAPTURE(style);
    TempDir dir;
    write_cifar10(dir, style);
    const TrainTest expected = load_cifar10(dir / "bin", 9);
    check_equal(load_cifar10(dir.path(), 9), expected);
    check_equal(load_cifar10(dir / "cifar-10-batches-py", 9), expected);
  }
}

TEST_CASE("cifar pickle: pickled CIFAR-100 is what the binary version is") {
  TempDir dir;
  write_file(dir / "bin/train.bin", records(30, 2, 100, 1));
  write_file(dir / "bin/test.bin", records(10, 2, 100, 2));
  write_pickles("python2", "cifar100", dir, "cifar-100-python");
  const TrainTest expected = load_cifar100(dir / "bin", 30, 10);
  check_equal(load_cifar100(dir.path(), 30, 10), expected);
  check_equal(load_cifar100(dir / "cifar-100-python", 30, 10), expected);
  // Another number of records than the official one is another file.
  CHECK(contains(error_of([&] { load_cifar100(dir.path(), 30, 9); }), "array of 9 x 3072 bytes"));
}

TEST_CASE("cifar pickle: pickled CIFAR errors name the file and the fix") {
  TempDir dir;
  std::string message = error_of([&] { load_cifar10(dir.path()); });
  CHECK(contains(message, "data_batch_1.bin"));
  CHECK(contains(message, "cifar-10-batches-py"));
  write_cifar10(dir, "python2");
  const std::string path = dir / "cifar-10-batches-py/data_batch_3";
  std::filesystem::remove(path);
  message = error_of([&] { load_cifar10(dir.path(), 9); });
  CHECK(contains(message, path));
  CHECK(contains(message, "there is no such file"));

  const auto check = [&](const std::string& pickle, const std::string& part) {
    CAPTURE(part);
    write_file(path, bytes_of(pickle));
    message = error_of([&] { load_cifar10(dir.path(), 9); });
    CHECK(contains(message, path));
    CHECK(contains(message, part));
    CHECK(contains(message, "tools/get_data"));
  };
  check("", "ends too early");
  check("\x80\x02N.", "does not hold a dictionary");
  check("\x80\x02}.", "no 'data'");
  check(
      "\x80\x02}U\x04"
      "dataK\x01s.",
      "'data' is not an array");
}

TEST_CASE("cifar pickle: a damaged file is an error or the same data, and never anything else") {
  TempDir dir;
  write_cifar10(dir, "python2");
  const std::string path = dir / "cifar-10-batches-py/test_batch";
  std::ifstream in(path, std::ios::binary);
  const std::vector<uint8_t> good((std::istreambuf_iterator<char>(in)), {});
  REQUIRE(good.size() > 9 * kPixelBytes);
  const auto load = [&](const std::vector<uint8_t>& bytes) {
    write_file(path, bytes);
    return error_of([&] {
      const TrainTest sets = load_cifar10(dir.path(), 9);
      CHECK(sets.test.size() == 9);
      CHECK(sets.test.images.size() == 9 * kPixelBytes);
      for (const int32_t label : sets.test.labels)
        CHECK((label >= 0 && label < 10));
    });
  };
  const RandomStream random(3, Purpose::test);
  for (uint64_t i = 0; i < 40; ++i) {
    const auto size = random.below(i, good.size());
    CAPTURE(size);
    const std::string message =
        load({good.begin(), good.begin() + static_cast<std::ptrdiff_t>(size)});
    CHECK(contains(message, path));
  }
  // The instructions stand before and after the pixels.
  int refused = 0;
  for (uint64_t i = 0; i < 300; ++i) {
    const uint64_t place = random.below(1000 + 2 * i, 600);
    auto bytes = good;
    bytes[i % 2 == 0 ? place : good.size() - 1 - place] ^=
        static_cast<uint8_t>(1 + random.below(1001 + 2 * i, 255));
    const std::string message = load(bytes);
    if (message.empty()) continue;
    ++refused;
    CHECK(contains(message, path));
  }
  CHECK(refused > 30);
}

TEST_CASE("cifar pickle: nothing is imported or called") {
  CHECK(contains(error_in("cos\nsystem\n(U\x04"
                          "echotR."),
                 "asks for os.system"));
  CHECK(contains(error_in("\x80\x04\x8c\x08"
                          "builtins\x8c\x04"
                          "eval\x93."),
                 "asks for builtins.eval"));
  CHECK(contains(error_in("cnumpy\nndarray\n)R."), "calls something"));
  CHECK(contains(error_in("i."), "instruction 0x69"));
}

TEST_CASE("cifar pickle: values that are missing, left over or too many") {
  CHECK(contains(error_in("."), "a value is missing"));
  CHECK(contains(error_in("NN."), "belong to nothing"));
  CHECK(contains(error_in("(N(a."), "a value is missing"));
  CHECK(contains(error_in("}(Nu."), "a key has no value"));
  CHECK(contains(error_in("h\x01."), "has not stored"));
  CHECK(contains(error_in("e."), "a mark is missing"));
  CHECK(contains(error_in("]K\x01K\x02s."), "a dictionary is expected"));
  CHECK(contains(error_in("NK\x01"
                          "a."),
                 "a list is expected"));
  CHECK(contains(error_in("\x80\x09N."), "protocol 9"));
  CHECK(contains(error_in(std::string(2000, 'N')), "far more values"));
  CHECK(contains(error_in("T\xff\xff\xff\xff."), "ends too early"));
  CHECK(contains(error_in("\x8e\xff\xff\xff\xff\xff\xff\xff\xff."), "ends too early"));
}

TEST_CASE("cifar pickle: numbers") {
  const auto number = [](const std::string& pickle) { return Pickle(pickle, 10).value().integer; };
  using namespace std::string_literals;
  CHECK(number("K\xff."s) == 255);
  CHECK(number("M\x01\x02."s) == 513);
  CHECK(number("J\xfe\xff\xff\xff."s) == -2);
  CHECK(number("\x8a\x00."s) == 0);
  CHECK(number("\x8a\x01\xff."s) == -1);
  CHECK(number("\x8a\x02\xff\x00."s) == 255);
  CHECK(number("\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x80."s) == INT64_MIN);
  CHECK(contains(error_in("\x8a\x09\x01\x01\x01\x01\x01\x01\x01\x01\x01."), "too large"));
}
