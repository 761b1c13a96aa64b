#pragma once
// The safetensors format, which PyTorch reads: 8 bytes little-endian header length, a JSON header
// {name: {dtype, shape, data_offsets}}, then the data of all tensors without gaps. "__metadata__"
// in the header maps strings to strings.
//
// Files written here carry a checksum of header and data in "__metadata__" under "checksum", so
// that a reader can tell a damaged file from a good one.

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/files.h"

namespace sculpt::safetensors {

enum class Dtype { boolean, u8, f16, bf16, i32, i64, f32, f64 };

size_t element_bytes(Dtype dtype);

/// A tensor whose data lies elsewhere.
struct Tensor {
  std::string name;
  Dtype dtype = Dtype::f32;
  std::vector<int64_t> shape;  ///< empty: a scalar
  Bytes data;

  int64_t count() const;
  /// Copies the bytes to `destination`, because in a file they need not be aligned. The sizes must
  /// agree (checked).
  void copy_to(std::span<std::byte> destination) const;
};

using Metadata = std::map<std::string, std::string>;

/// Writes the file atomically (see write_file). Tensors of wider types come first, and tensors of
/// one width keep the given order, so that every tensor is aligned. Metadata is sorted by key.
/// Equal arguments give equal bytes.
void write(const std::filesystem::path& path, std::vector<Tensor> tensors,
           const Metadata& metadata);

/// A file in memory. Every tensor has been checked to lie inside it.
class File {
 public:
  /// Throws Error naming the file if it is damaged in any way, or if a tensor has a type that is
  /// not in Dtype. The function accepts and refuses the same files as the format's own reader, with
  /// two additions: it also refuses names that appear twice and a checksum that does not match.
  /// A file without a checksum counts as damaged if require_checksum is true.
  static File read(const std::filesystem::path& path, bool require_checksum);
  static File parse(std::string name, std::vector<std::byte> content, bool require_checksum);
  File(File&&) = default;
  File& operator=(File&&) = default;
  File(const File&) = delete;  // the tensors point into its content
  File& operator=(const File&) = delete;

  const std::string& name() const { return name_; }
  const std::vector<Tensor>& tensors() const { return tensors_; }
  const Metadata& metadata() const { return metadata_; }
  /// Throws Error if there is no such tensor, or if its dtype or shape differs from the one
  /// requested.
  const Tensor& get(std::string_view tensor, Dtype dtype, const std::vector<int64_t>& shape) const;
  /// Does the same without a check of dtype and shape.
  const Tensor& get(std::string_view tensor) const;
  bool has(std::string_view tensor) const;
  /// Throws Error if there is no such key.
  const std::string& metadata(const std::string& key) const;

 private:
  File() = default;
  std::string name_;
  std::vector<std::byte> content_;
  std::vector<Tensor> tensors_;  // views into content_
  Metadata metadata_;
  std::map<std::string, size_t, std::less<>> index_;
};

}  // namespace sculpt::safetensors
