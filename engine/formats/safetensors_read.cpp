#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "engine/core/checksum.h"
#include "engine/core/error.h"
#include "engine/formats/safetensors_common.h"

namespace sculpt::safetensors {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kMaxDepth = 127;  // nested arrays and objects; the limit of the format's own reader
constexpr size_t kLengthBytes = 8;

/// Throws the Error for a damaged file. All problems of a file are reported through this function.
template <class... Args>
[[noreturn]] void damaged(const std::string& name, fmt::format_string<Args...> format,
                          Args&&... args) {
  fail("{} is damaged: {}", name, fmt::format(format, std::forward<Args>(args)...));
}

std::string header_of(const std::string& name, const std::vector<std::byte>& content) {
  if (content.size() < kLengthBytes)
    damaged(name, "it has only {} bytes, so it was truncated", content.size());
  uint64_t length = 0;
  std::memcpy(&length, content.data(), kLengthBytes);
  if (length > kMaxHeaderBytes || length > content.size() - kLengthBytes)
    damaged(name,
            "its header of {} bytes does not fit, so it was truncated or is not a safetensors file",
            length);
  return std::string(reinterpret_cast<const char*>(content.data()) + kLengthBytes, length);
}

/// Finds problems that the JSON parser itself accepts: names that appear twice in an object, which
/// the description of the format forbids, and values that are nested too deeply.
class HeaderWatch {
 public:
  bool operator()(int depth, Json::parse_event_t event, const Json& parsed) {
    using Event = Json::parse_event_t;
    if (event == Event::object_start || event == Event::array_start) {
      if (depth >= kMaxDepth) problem_ = fmt::format("it is nested more than {} deep", kMaxDepth);
      names_.resize(static_cast<size_t>(depth) + 2);
      names_.back().clear();
    } else if (event == Event::key) {
      const auto& name = parsed.get_ref<const std::string&>();
      if (!names_.at(static_cast<size_t>(depth)).insert(name).second)
        problem_ = fmt::format("the name '{}' occurs twice", name);
    }
    return true;
  }
  const std::string& problem() const { return problem_; }

 private:
  std::vector<std::set<std::string>> names_;  // names seen so far, at every depth
  std::string problem_;
};

Json parse_header(const std::string& name, const std::string& text) {
  // The parser would treat a zero byte as the end of the text and would skip a byte order mark.
  // Neither is valid JSON.
  if (text.find('\0') != std::string::npos || text.starts_with("\xEF\xBB\xBF"))
    damaged(name, "its header is not JSON");
  HeaderWatch watch;
  Json header = Json::parse(text, std::ref(watch), /*allow_exceptions=*/false);
  if (header.is_discarded() || !header.is_object()) damaged(name, "its header is not JSON");
  if (!watch.problem().empty()) damaged(name, "in its header, {}", watch.problem());
  return header;
}

/// Types of the format that this program cannot read.
constexpr std::array kOtherTypes = std::to_array<std::string_view>(
    {"F4", "F6_E2M3", "F6_E3M2", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ",
     "F8_E5M2FNUZ", "I16", "U16", "F16", "BF16", "U32", "C64", "U64"});

Dtype dtype_of(const std::string& name, const std::string& tensor, const std::string& text) {
  for (const Dtype d : {Dtype::boolean, Dtype::u8, Dtype::f16, Dtype::bf16, Dtype::i32, Dtype::i64,
                        Dtype::f32, Dtype::f64})
    if (text == name_of(d)) return d;
  if (std::find(kOtherTypes.begin(), kOtherTypes.end(), text) != kOtherTypes.end())
    fail("{}: tensor '{}' has the type '{}', which is not supported; convert it to F32", name,
         tensor, text);
  damaged(name, "tensor '{}' has the type '{}', which the format does not have", tensor, text);
}

/// Returns the bytes of a shape. Sizes come from the file, so every product may overflow. An
/// overflow is an error even if a later size is 0.
size_t shape_bytes(const std::string& name, const Tensor& t) {
  size_t count = 1, bytes = 0;
  bool overflow = false;
  for (const int64_t size : t.shape)
    overflow |= __builtin_mul_overflow(count, static_cast<size_t>(size), &count);
  if (overflow || __builtin_mul_overflow(count, element_bytes(t.dtype), &bytes))
    damaged(name, "the shape of tensor '{}' is too large", t.name);
  return bytes;
}

bool is_size(const Json& value) {
  return value.is_number_unsigned() &&
         value.get<uint64_t>() <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
}

/// Parses a header entry. The data is attached later; `begin` and `end` receive its checked
/// offsets.
Tensor parse_tensor(const std::string& name, const std::string& tensor, const Json& entry,
                    size_t data_bytes, size_t& begin, size_t& end) {
  const bool complete = entry.is_object() && entry.contains("dtype") &&
                        entry["dtype"].is_string() && entry.contains("shape") &&
                        entry["shape"].is_array() && entry.contains("data_offsets") &&
                        entry["data_offsets"].is_array() && entry["data_offsets"].size() == 2;
  if (!complete) damaged(name, "tensor '{}' has a malformed entry", tensor);
  Tensor t;
  t.name = tensor;
  t.dtype = dtype_of(name, tensor, entry["dtype"].get<std::string>());
  for (const Json& size : entry["shape"]) {
    if (!is_size(size)) damaged(name, "tensor '{}' has an invalid size", tensor);
    t.shape.push_back(size.get<int64_t>());
  }
  for (const Json& offset : entry["data_offsets"])
    if (!is_size(offset)) damaged(name, "tensor '{}' has an invalid offset", tensor);
  begin = entry["data_offsets"][0].get<size_t>();
  end = entry["data_offsets"][1].get<size_t>();
  if (begin > end || end > data_bytes)
    damaged(name, "tensor '{}' has the byte range {} to {}, but the data has {} bytes", tensor,
            begin, end, data_bytes);
  if (shape_bytes(name, t) != end - begin)
    damaged(name, "tensor '{}' has {} bytes, but its shape needs {}", tensor, end - begin,
            shape_bytes(name, t));
  return t;
}

void verify_checksum(const std::string& name, std::string header, Bytes length,
                     const std::vector<Tensor>& tensors, const std::string& expected) {
  const std::string field = std::string(kChecksumField) + expected;
  const size_t place = header.find(field);
  if (place == std::string::npos || expected.size() != kNoChecksum.size())
    damaged(name, "its checksum is malformed");
  header.replace(place + kChecksumField.size(), kNoChecksum.size(), kNoChecksum);
  Checksum checksum;
  checksum.add(length);
  checksum.add(std::as_bytes(std::span(header.data(), header.size())));
  for (const Tensor& t : tensors)
    checksum.add(t.data);
  if (checksum.digits() != expected)
    damaged(name, "its checksum is {}, but should be {}", checksum.digits(), expected);
}

}  // namespace

File File::read(const std::filesystem::path& path, bool require_checksum) {
  return parse(path.string(), read_file(path), require_checksum);
}

File File::parse(std::string name, std::vector<std::byte> content, bool require_checksum) {
  File file;
  file.name_ = std::move(name);
  file.content_ = std::move(content);
  const std::string text = header_of(file.name_, file.content_);
  const Json header = parse_header(file.name_, text);
  const Bytes data = Bytes(file.content_).subspan(kLengthBytes + text.size());

  std::vector<std::pair<size_t, size_t>> places;
  for (const auto& [key, entry] : header.items()) {
    if (key == kMetadataKey) {
      if (entry.is_null()) continue;  // same as no metadata
      if (!entry.is_object()) damaged(file.name_, "its metadata is not an object");
      for (const auto& [k, v] : entry.items()) {
        if (!v.is_string()) damaged(file.name_, "metadata '{}' is not a string", k);
        file.metadata_[k] = v.get<std::string>();
      }
      continue;
    }
    size_t begin = 0, end = 0;
    Tensor t = parse_tensor(file.name_, key, entry, data.size(), begin, end);
    t.data = data.subspan(begin, end - begin);
    places.emplace_back(begin, end);
    file.tensors_.push_back(std::move(t));
  }

  std::sort(places.begin(), places.end());
  size_t covered = 0;
  for (const auto& [begin, end] : places) {
    if (begin != covered)
      damaged(file.name_, "there is a gap or an overlap at byte {} of its data", begin);
    covered = end;
  }
  if (covered != data.size())
    damaged(file.name_, "there are {} bytes after the last tensor", data.size() - covered);
  std::stable_sort(file.tensors_.begin(), file.tensors_.end(),
                   [](const Tensor& a, const Tensor& b) { return a.data.data() < b.data.data(); });
  for (size_t i = 0; i < file.tensors_.size(); ++i)
    file.index_[file.tensors_[i].name] = i;

  const auto checksum = file.metadata_.find(std::string(kChecksumKey));
  if (checksum != file.metadata_.end())
    verify_checksum(file.name_, text, Bytes(file.content_).first(kLengthBytes), file.tensors_,
                    checksum->second);
  else if (require_checksum)
    damaged(file.name_, "it has no checksum");
  return file;
}

bool File::has(std::string_view tensor) const {
  return index_.find(tensor) != index_.end();
}

const Tensor& File::get(std::string_view tensor) const {
  const auto found = index_.find(tensor);
  if (found == index_.end()) fail("{} has no tensor '{}'", name_, tensor);
  return tensors_[found->second];
}

const Tensor& File::get(std::string_view tensor, Dtype dtype,
                        const std::vector<int64_t>& shape) const {
  const Tensor& t = get(tensor);
  if (t.dtype != dtype || t.shape != shape)
    fail(
        "{}: tensor '{}' has the type {} and {} elements, which does not fit the {} tensor of this "
        "model",
        name_, tensor, name_of(t.dtype), t.count(), name_of(dtype));
  return t;
}

const std::string& File::metadata(const std::string& key) const {
  const auto found = metadata_.find(key);
  if (found == metadata_.end()) fail("{} has no metadata '{}'", name_, key);
  return found->second;
}

}  // namespace sculpt::safetensors
