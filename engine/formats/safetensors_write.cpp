#include <algorithm>
#include <bit>
#include <nlohmann/json.hpp>

#include "engine/core/checksum.h"
#include "engine/core/error.h"
#include "engine/formats/safetensors_common.h"

namespace sculpt::safetensors {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors files are little-endian");

/// Returns the JSON header, padded with blanks so that the data is aligned to 8 bytes.
std::string header_text(const std::vector<Tensor>& tensors, const Metadata& metadata) {
  nlohmann::ordered_json header;
  auto& strings = header[std::string(kMetadataKey)];
  for (const auto& [key, value] : metadata) {
    SCULPT_CHECK(key != kChecksumKey, "metadata key '{}' is reserved", key);
    strings[key] = value;
  }
  strings[std::string(kChecksumKey)] = kNoChecksum;
  size_t offset = 0;
  for (const Tensor& t : tensors) {
    SCULPT_CHECK(static_cast<size_t>(t.count()) * element_bytes(t.dtype) == t.data.size(),
                 "tensor {}: shape and data disagree", t.name);
    SCULPT_CHECK(!header.contains(t.name), "tensor {} twice in one file", t.name);
    header[t.name] = {{"dtype", name_of(t.dtype)},
                      {"shape", t.shape},
                      {"data_offsets", {offset, offset + t.data.size()}}};
    offset += t.data.size();
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const nlohmann::json::exception& problem) {
    fail("a name or a metadata value is not UTF-8 ({})", problem.what());
  }
  text.resize((text.size() + 7) / 8 * 8, ' ');
  SCULPT_CHECK(text.size() <= kMaxHeaderBytes,
               "a header of {} bytes is more than the format's limit of {}", text.size(),
               kMaxHeaderBytes);
  return text;
}

}  // namespace

size_t element_bytes(Dtype dtype) {
  switch (dtype) {
    case Dtype::boolean:
    case Dtype::u8:
      return 1;
    case Dtype::f16:
    case Dtype::bf16:
      return 2;
    case Dtype::i32:
    case Dtype::f32:
      return 4;
    case Dtype::i64:
    case Dtype::f64:
      return 8;
  }
  fail("unknown tensor type {}", static_cast<int>(dtype));
}

std::string_view name_of(Dtype dtype) {
  switch (dtype) {
    case Dtype::boolean:
      return "BOOL";
    case Dtype::u8:
      return "U8";
    case Dtype::f16:
      return "F16";
    case Dtype::bf16:
      return "BF16";
    case Dtype::i32:
      return "I32";
    case Dtype::i64:
      return "I64";
    case Dtype::f32:
      return "F32";
    case Dtype::f64:
      return "F64";
  }
  fail("unknown tensor type {}", static_cast<int>(dtype));
}

int64_t Tensor::count() const {
  int64_t n = 1;
  for (const int64_t size : shape)
    n *= size;
  return n;
}

void Tensor::copy_to(std::span<std::byte> destination) const {
  SCULPT_CHECK(destination.size() == data.size(), "tensor {} has {} bytes, not {}", name,
               data.size(), destination.size());
  std::copy(data.begin(), data.end(), destination.begin());
}

void write(const std::filesystem::path& path, std::vector<Tensor> tensors,
           const Metadata& metadata) {
  // The widest types come first, so that every tensor lies at a multiple of its element's size.
  std::stable_sort(tensors.begin(), tensors.end(), [](const Tensor& a, const Tensor& b) {
    return element_bytes(a.dtype) > element_bytes(b.dtype);
  });
  std::string header = header_text(tensors, metadata);
  const uint64_t header_bytes = header.size();
  const auto header_part = [&] { return std::as_bytes(std::span(header.data(), header.size())); };
  std::vector<Bytes> parts = {std::as_bytes(std::span(&header_bytes, 1)), header_part()};
  for (const Tensor& t : tensors)
    parts.push_back(t.data);

  Checksum checksum;
  for (const Bytes& part : parts)
    checksum.add(part);
  const size_t place = header.find(std::string(kChecksumField) + std::string(kNoChecksum));
  SCULPT_CHECK(place != std::string::npos, "checksum field missing");
  header.replace(place + kChecksumField.size(), kNoChecksum.size(), checksum.digits());
  write_file(path, parts);
}

}  // namespace sculpt::safetensors
