#include "engine/core/checksum.h"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>

namespace sculpt {

void Checksum::add(std::span<const std::byte> part) {
  // The length separates the parts. The last word is padded with zeros.
  mix(part.size());
  for (size_t i = 0; i < part.size(); i += 8) {
    uint64_t word = 0;
    std::memcpy(&word, part.data() + i, std::min<size_t>(8, part.size() - i));
    mix(word);
  }
}

std::string Checksum::digits() const {
  return fmt::format("{:016x}", state_);
}

}  // namespace sculpt
