#pragma once
// What the safetensors reader and writer agree on.

#include <string_view>

#include "engine/train/safetensors.h"

namespace sculpt::safetensors {

inline constexpr uint64_t kMaxHeaderBytes = 100'000'000;  ///< the format's own limit
inline constexpr std::string_view kMetadataKey = "__metadata__";
inline constexpr std::string_view kChecksumKey = "checksum";
/// Stands where the checksum will be while it is computed.
inline constexpr std::string_view kNoChecksum = "0000000000000000";
/// How the checksum appears in the header's text; the header is written without blanks.
inline constexpr std::string_view kChecksumField = R"("checksum":")";

std::string_view name_of(Dtype dtype);

/// 64 bits over a sequence of parts. Any change of up to eight neighbouring bytes changes it: every
/// round is a bijection of both the state and the word.
class Checksum {
 public:
  void add(Bytes part);
  /// 16 hexadecimal digits.
  std::string digits() const;

 private:
  void mix(uint64_t word) {
    const uint64_t x = (state_ ^ word) * 0x9E3779B97F4A7C15ull;
    state_ = (x << 29) | (x >> 35);
  }
  uint64_t state_ = 0x736166657465736eull;
};

}  // namespace sculpt::safetensors
