#include "engine/core/checksum.h"

#include <cstring>
#include <fmt/format.h>

namespace sculpt {

void Checksum::add(std::span<const std::byte> part) {
  // The length separates the parts. The last word is padded with zeros.
  mix(part.size());
  const size_t whole = part.size() / 8 * 8;
  for (size_t i = 0; i < whole; i += 8) {
    uint64_t word;
    std::memcpy(&word, part.data() + i, sizeof word);
    mix(word);
  }
  if (whole == part.size()) return;
  uint64_t last = 0;
  std::memcpy(&last, part.data() + whole, part.size() - whole);
  mix(last);
}

std::string Checksum::digits() const {
  return fmt::format("{:016x}", state_);
}

}  // namespace sculpt
