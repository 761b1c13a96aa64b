#include "engine/core/name_pattern.h"

#include <doctest/doctest.h>
#include <string>

namespace sculpt {
namespace {

/// The definition, by recursion.
bool fits(std::string_view name, std::string_view pattern) {
  if (pattern.empty()) return name.empty();
  if (pattern[0] == '*')
    return fits(name, pattern.substr(1)) || (!name.empty() && fits(name.substr(1), pattern));
  return !name.empty() && name[0] == pattern[0] && fits(name.substr(1), pattern.substr(1));
}

std::string word(int number, std::string_view letters, int length) {
  std::string text;
  for (int i = 0; i < length; ++i, number /= static_cast<int>(letters.size()))
    text += letters[static_cast<size_t>(number) % letters.size()];
  return text;
}

TEST_CASE("name pattern: every short name and pattern agrees with the definition") {
  int fitting = 0;
  for (int length = 0; length <= 5; ++length)
    for (int n = 0; n < 1 << length; ++n)
      for (int size = 0; size <= 4; ++size)
        for (int p = 0; p < (size == 0   ? 1
                             : size == 1 ? 3
                             : size == 2 ? 9
                             : size == 3 ? 27
                                         : 81);
             ++p) {
          const std::string name = word(n, "ab", length), pattern = word(p, "ab*", size);
          CAPTURE(name);
          CAPTURE(pattern);
          REQUIRE(fits_pattern(name, pattern) == fits(name, pattern));
          fitting += fits(name, pattern);
        }
  CHECK(fitting > 1000);
}

TEST_CASE("name pattern: names of layers") {
  CHECK(fits_pattern("layer1.0.conv2", "layer1.*"));
  CHECK(fits_pattern("layer1.0.conv2", "*.conv*"));
  CHECK_FALSE(fits_pattern("layer10.0.conv2", "layer1.*"));
  CHECK_FALSE(fits_pattern("layer1x0", "layer1.0"));
}

}  // namespace
}  // namespace sculpt
