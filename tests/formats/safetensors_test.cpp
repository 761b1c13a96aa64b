// The safetensors reader and writer: byte layout, and damage of every kind.

#include "engine/formats/safetensors.h"

#include <cstring>
#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "engine/core/error.h"
#include "engine/core/random.h"
#include "tests/support/temporary_folder.h"

using namespace sculpt;
using namespace sculpt::safetensors;
using sculpt::testing::contains;
using sculpt::testing::error_of;
using sculpt::testing::TemporaryFolder;

namespace {

/// A file with all types, odd sizes, a scalar and an empty tensor.
struct Sample {
  std::vector<float> weights = {1.5f, -2.f, 0.f, 3e-39f, 5.f, 6.f};
  std::vector<double> doubles = {0.1, -7};
  std::vector<uint8_t> mask = {1, 0, 1};
  std::vector<int32_t> ints = {-1, 2};
  int64_t scalar = int64_t{1} << 40;

  std::vector<Tensor> tensors() const {
    const auto bytes = [](const auto& v) { return std::as_bytes(std::span(v)); };
    return {{"n", Dtype::i64, {}, std::as_bytes(std::span(&scalar, 1))},
            {"d", Dtype::f64, {2, 1}, bytes(doubles)},
            {"conv.weight", Dtype::f32, {1, 2, 3}, bytes(weights)},
            {"none", Dtype::f32, {0, 4}, {}},
            {"i", Dtype::i32, {2}, bytes(ints)},
            {"conv.weight.mask", Dtype::u8, {3}, bytes(mask)}};
  }
};

std::vector<std::byte> written(const Metadata& metadata = {{"key", "a \"quoted\" value"}}) {
  TemporaryFolder folder;
  const Sample sample;
  write(folder / "x.safetensors", sample.tensors(), metadata);
  return read_file(folder / "x.safetensors");
}

/// A file with a hand-made header and `data_bytes` zeros.
std::vector<std::byte> made(const std::string& header, size_t data_bytes) {
  std::vector<std::byte> content(8 + header.size() + data_bytes);
  const uint64_t length = header.size();
  std::memcpy(content.data(), &length, 8);
  std::memcpy(content.data() + 8, header.data(), header.size());
  return content;
}

std::string error_of_parsing(std::vector<std::byte> content, bool require_checksum) {
  return error_of([&] { File::parse("f", std::move(content), require_checksum); });
}

}  // namespace

TEST_CASE("safetensors: what is written reads back") {
  const Sample sample;
  const File file = File::parse("f", written(), true);
  CHECK(file.metadata("key") == "a \"quoted\" value");
  CHECK(file.tensors().size() == sample.tensors().size());
  for (const Tensor& t : sample.tensors()) {
    const Tensor& u = file.get(t.name, t.dtype, t.shape);
    REQUIRE(u.data.size() == t.data.size());
    CHECK(std::equal(t.data.begin(), t.data.end(), u.data.begin()));
  }
  CHECK(contains(error_of([&] { file.get("missing", Dtype::f32, {1}); }), "missing"));
  CHECK(contains(error_of([&] { file.get("i", Dtype::f32, {2}); }), "'i'"));
  CHECK(contains(error_of([&] { file.get("i", Dtype::i32, {3}); }), "'i'"));
  CHECK(contains(error_of([&] { file.metadata("nope"); }), "nope"));
}

TEST_CASE("safetensors: the bytes are those of the format") {
  const std::vector<std::byte> content = written();
  uint64_t length = 0;
  std::memcpy(&length, content.data(), 8);
  CHECK(length % 8 == 0);
  const std::string header(reinterpret_cast<const char*>(content.data()) + 8, length);
  const auto json = nlohmann::json::parse(header);
  CHECK(json["__metadata__"]["key"] == "a \"quoted\" value");
  CHECK(json["conv.weight"]["dtype"] == "F32");
  CHECK(json["conv.weight"]["shape"] == nlohmann::json({1, 2, 3}));
  CHECK(json["n"]["shape"] == nlohmann::json::array());
  CHECK(json["conv.weight.mask"]["dtype"] == "U8");
  CHECK(json["conv.weight"]["data_offsets"] == nlohmann::json({24, 48}));
  float second = 0;
  std::memcpy(&second, content.data() + 8 + length + 24 + 4, 4);
  CHECK(second == -2.f);
  CHECK(content.size() == 8 + length + 8 + 16 + 24 + 0 + 8 + 3);
  CHECK(written() == content);  // equal arguments, equal bytes
}

TEST_CASE("safetensors: every truncation is noticed") {
  const std::vector<std::byte> content = written();
  for (size_t n = 0; n < content.size(); ++n) {
    const std::vector<std::byte> part(content.begin(), content.begin() + static_cast<long>(n));
    CAPTURE(n);
    CHECK(contains(error_of_parsing(part, true), "f is damaged"));
  }
  auto longer = content;
  longer.push_back(std::byte{0});
  CHECK(contains(error_of_parsing(longer, true), "f is damaged"));
}

TEST_CASE("safetensors: every changed byte is noticed") {
  const std::vector<std::byte> content = written();
  const RandomStream random(20240501, Purpose::test);
  uint64_t draw = 0;
  for (size_t i = 0; i < content.size(); ++i) {
    for (int k = 0; k < 4; ++k) {
      auto changed = content;
      changed[i] ^= static_cast<std::byte>(1 + random.below(draw++, 255));
      CAPTURE(i);
      CHECK_FALSE(error_of_parsing(changed, true).empty());
    }
  }
}

TEST_CASE("safetensors: several changed bytes and garbage end in an error, never in a crash") {
  const std::vector<std::byte> content = written();
  const RandomStream random(77, Purpose::test);
  uint64_t draw = 0;
  for (int round = 0; round < 3000; ++round) {
    auto changed = content;
    const uint64_t changes = 1 + random.below(draw++, 12);
    // Most changes are in the header, which has structure.
    for (uint64_t c = 0; c < changes; ++c) {
      const uint64_t place = random.below(draw++, round % 3 ? 300 : content.size());
      changed[place] = static_cast<std::byte>(random.below(draw++, 256));
    }
    if (changed == content) continue;
    CAPTURE(round);
    CHECK_FALSE(error_of_parsing(changed, true).empty());
    // A file without a checksum may be readable, but every tensor must lie inside the file.
    try {
      const File file = File::parse("f", changed, false);
      for (const Tensor& t : file.tensors()) {
        std::vector<std::byte> copy(t.data.size());
        t.copy_to(copy);
      }
    } catch (const Error&) {
    }
  }
  for (int round = 0; round < 300; ++round) {
    std::vector<std::byte> garbage(random.below(draw++, 200));
    for (std::byte& b : garbage)
      b = static_cast<std::byte>(random.below(draw++, 256));
    CHECK_FALSE(error_of_parsing(garbage, false).empty());
  }
}

TEST_CASE("safetensors: malformed headers") {
  struct Case {
    const char* header;
    size_t data_bytes;
    const char* expected;
  };
  const Case cases[] = {
      {"[]", 0, "not JSON"},
      {"{", 0, "not JSON"},
      {R"({"a":1})", 0, "malformed"},
      {R"({"a":{"dtype":"F32","shape":[1]}})", 4, "malformed"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}})", 4, "malformed"},
      {R"({"a":{"dtype":7,"shape":[1],"data_offsets":[0,4]}})", 4, "malformed"},
      {R"({"a":{"dtype":"F31","shape":[1],"data_offsets":[0,4]}})", 4, "type 'F31'"},
      {R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", 4, "invalid size"},
      {R"({"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}})", 4, "invalid size"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}})", 4, "invalid offset"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", 4, "byte range 4 to 0"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 3, "byte range 0 to 4"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 4, "shape needs 8"},
      {R"({"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}})", 0,
       "too large"},
      {R"({"a":{"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,4]}})", 4,
       "invalid size"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", 8, "gap or an overlap"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
       R"("b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
       8, "gap or an overlap"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 8, "after the last"},
      {R"({"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},)"
       R"("a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})",
       0, "'a' occurs twice"},
      {R"({"__metadata__":[]})", 0, "metadata is not an object"},
      {R"({"__metadata__":{"k":1}})", 0, "metadata 'k' is not a string"},
      {R"({"__metadata__":{"checksum":"1"}})", 0, "checksum is malformed"},
      {R"({"__metadata__":{"checksum":"0123456789abcdef"}})", 0, "should be 0123456789abcdef"},
  };
  for (const Case& c : cases) {
    CAPTURE(std::string(c.header));
    const std::string message = error_of_parsing(made(c.header, c.data_bytes), false);
    CAPTURE(message);
    CHECK(contains(message, c.expected));
  }
  CHECK(contains(error_of_parsing(made("{}", 0), true), "no checksum"));
  CHECK(error_of_parsing(made("{}", 0), false).empty());
  // A header length beyond the file.
  auto huge = made("{}", 0);
  for (int i = 0; i < 8; ++i)
    huge[static_cast<size_t>(i)] = std::byte{0xFF};
  CHECK(contains(error_of_parsing(huge, false), "does not fit"));
}

TEST_CASE("safetensors: a missing file and a folder are named") {
  TemporaryFolder folder;
  CHECK(contains(error_of([&] { File::read(folder / "no", true); }), "no: No such file"));
  CHECK(contains(error_of([&] { File::read(folder.path(), true); }), "it is a folder"));
}
