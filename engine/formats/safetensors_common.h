#pragma once
// The safetensors reader and writer share these constants.

#include <string_view>

#include "engine/formats/safetensors.h"

namespace sculpt::safetensors {

inline constexpr uint64_t kMaxHeaderBytes = 100'000'000;  ///< the format's own limit
inline constexpr std::string_view kMetadataKey = "__metadata__";
inline constexpr std::string_view kChecksumKey = "checksum";
/// Takes the place of the checksum in the header while the checksum is computed.
inline constexpr std::string_view kNoChecksum = "0000000000000000";
/// The text that precedes the checksum in the header; the header is written without blanks.
inline constexpr std::string_view kChecksumField = R"("checksum":")";

std::string_view name_of(Dtype dtype);

}  // namespace sculpt::safetensors
