// The safetensors reader accepts and refuses what the format's own reader does, on the headers of
// tests/golden/safetensors_headers.json (tools/make_safetensors_corpus.py says what is in a case).

#include <cstring>
#include <doctest/doctest.h>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "engine/core/error.h"
#include "engine/core/random.h"
#include "engine/formats/safetensors.h"
#include "tests/support/temporary_folder.h"

using namespace sculpt;
using namespace sculpt::safetensors;
using sculpt::testing::contains;
using sculpt::testing::error_of;
using sculpt::testing::TemporaryFolder;

namespace {

using Json = nlohmann::json;

constexpr const char* kCorpus = "tests/golden/safetensors_headers.json";

Json cases() {
  std::ifstream in(kCorpus);
  REQUIRE(in.good());
  return Json::parse(in)["cases"];
}

std::string decode_base64(const std::string& text) {
  const std::string digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    if (c == '=') break;
    bits = bits << 6 | static_cast<uint32_t>(digits.find(c));
    count += 6;
    if (count < 8) continue;
    count -= 8;
    bytes += static_cast<char>(bits >> count & 255);
  }
  return bytes;
}

std::vector<std::byte> content_of(const Json& test) {
  const std::string header = test.contains("base64")
                                 ? decode_base64(test["base64"].get<std::string>())
                                 : test["header"].get<std::string>();
  const uint64_t length = test.value("length", static_cast<uint64_t>(header.size()));
  std::vector<std::byte> content(8 + header.size() + test["data"].get<size_t>());
  std::memcpy(content.data(), &length, 8);
  std::memcpy(content.data() + 8, header.data(), header.size());
  return content;
}

/// Returns the tensors of a file in the form of the corpus. If the file is refused, returns nothing
/// and sets the reason.
std::optional<Json> read_tensors(std::vector<std::byte> content, std::string& why) {
  const std::map<Dtype, std::string> names = {
      {Dtype::boolean, "BOOL"}, {Dtype::u8, "U8"},     {Dtype::i32, "I32"}, {Dtype::i64, "I64"},
      {Dtype::f16, "F16"},      {Dtype::bf16, "BF16"}, {Dtype::f32, "F32"}, {Dtype::f64, "F64"}};
  try {
    const File file = File::parse("f", std::move(content), false);
    std::vector<Json> tensors;
    for (const Tensor& t : file.tensors())
      tensors.push_back(Json{t.name, names.at(t.dtype), t.shape, t.data.size()});
    std::sort(tensors.begin(), tensors.end(),
              [](const Json& a, const Json& b) { return a[0] < b[0]; });
    return Json(tensors);
  } catch (const Error& error) {
    why = error.what();
    return std::nullopt;
  }
}

/// Returns true if the program supports the types and sizes of these tensors.
bool supported(const Json& tensors) {
  const std::set<std::string> types = {"BOOL", "U8", "I32", "I64", "F16", "BF16", "F32", "F64"};
  for (const Json& tensor : tensors) {
    if (types.count(tensor[1].get<std::string>()) == 0) return false;
    for (const Json& size : tensor[2])
      if (size.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
        return false;
  }
  return true;
}

}  // namespace

TEST_CASE("safetensors headers: the verdicts of the format's own reader") {
  int accepted = 0, refused = 0, unsupported = 0;
  for (const Json& test : cases()) {
    CAPTURE(test.dump(-1, ' ', true));
    std::string why;
    const std::optional<Json> found = read_tensors(content_of(test), why);
    CAPTURE(why);
    if (!test.contains("tensors") || test.contains("stricter")) {
      CHECK_FALSE(found.has_value());
      ++refused;
    } else if (!supported(test["tensors"])) {
      CHECK_FALSE(found.has_value());
      ++unsupported;
    } else {
      CHECK(found.value_or(nullptr) == test["tensors"]);
      ++accepted;
    }
  }
  CHECK(accepted > 50);
  CHECK(refused > 300);
  CHECK(unsupported > 20);
}

TEST_CASE("safetensors headers: changed ones end in an error or in tensors inside the file") {
  const Json list = cases();
  const RandomStream random(5, Purpose::test);
  uint64_t draw = 0;
  for (int round = 0; round < 6000; ++round) {
    std::vector<std::byte> content = content_of(list[random.below(draw++, list.size())]);
    if (content.size() > 4096) continue;  // nested deeply; the others are quicker
    for (uint64_t changes = 1 + random.below(draw++, 3); changes > 0; --changes) {
      const uint64_t place = random.below(draw++, content.size());
      content[place] = static_cast<std::byte>(random.below(draw++, 256));
    }
    CAPTURE(round);
    try {
      const size_t bytes = content.size();
      const File file = File::parse("f", std::move(content), false);
      for (const Tensor& t : file.tensors()) {
        CHECK(t.data.size() <= bytes);
        std::vector<std::byte> copy(t.data.size());
        t.copy_to(copy);
      }
    } catch (const Error&) {
    }
  }
}

TEST_CASE("safetensors headers: a type of the format that is not supported is not called damage") {
  const Json test = {{"header", R"({"a":{"dtype":"I16","shape":[2],"data_offsets":[0,4]}})"},
                     {"data", 4}};
  std::string why;
  CHECK_FALSE(read_tensors(content_of(test), why).has_value());
  CHECK(why == "f: tensor 'a' has the type 'I16', which is not supported; convert it to F32");
}

TEST_CASE("safetensors: tensors are written aligned, whatever their order was") {
  const std::vector<std::byte> bytes(24);
  const auto part = [&](size_t size) { return Bytes(bytes).first(size); };
  TemporaryFolder folder;
  write(folder / "x",
        {{"m", Dtype::u8, {3}, part(3)},
         {"f", Dtype::f32, {1}, part(4)},
         {"k", Dtype::u8, {5}, part(5)},
         {"d", Dtype::f64, {3}, part(24)},
         {"g", Dtype::f32, {2}, part(8)}},
        {});
  const File file = File::read(folder / "x", true);
  std::string order;
  size_t offset = 0;
  for (const Tensor& t : file.tensors()) {
    CHECK(offset % element_bytes(t.dtype) == 0);
    offset += t.data.size();
    order += t.name;
  }
  CHECK(order == "dfgmk");
}

TEST_CASE("safetensors: what a header cannot hold is an error and leaves no file") {
  TemporaryFolder folder;
  CHECK(contains(error_of([&] { write(folder / "x", {}, {{"key", "\xFF"}}); }), "not UTF-8"));
  CHECK(contains(error_of([&] {
                   write(folder / "x", {{"__metadata__", Dtype::u8, {0}, {}}}, {});
                 }),
                 "__metadata__"));
  CHECK_FALSE(std::filesystem::exists(folder / "x"));
}
