#pragma once
// Reads the part of Python's pickle format that data sets use: dictionaries, lists, tuples,
// numbers, texts, bytes, and numpy arrays of bytes. A pickle is a program. This reader executes no
// instruction that imports or calls anything except the four names that create such arrays, so
// reading a file of unknown origin is safe. (Python, Lib/pickletools.py describes every
// instruction.)

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

namespace sculpt::data {

/// The comment of a member lists the kinds of values that use the member.
struct PickleValue {
  enum class Kind { none, boolean, integer, text, bytes, list, tuple, dict, global, dtype, array };

  Kind kind = Kind::none;
  int64_t integer = 0;     ///< integers and booleans
  std::string_view bytes;  ///< texts (UTF-8), bytes, globals ("module name"), dtypes, arrays
  std::vector<PickleValue*> items;  ///< lists, tuples; dicts, as alternating keys and values
  std::vector<int64_t> shape;       ///< arrays
  std::string element;              ///< arrays: the element type, such as "u1"
};

/// The value that a pickle holds. It refers to the pickle's bytes, which must outlive it.
class Pickle {
 public:
  /// Throws Error saying what is wrong and at which byte. `most_values` limits the number of
  /// values, and so the memory that a damaged file can make the reader allocate.
  Pickle(std::string_view bytes, size_t most_values);
  Pickle(const Pickle&) = delete;
  Pickle& operator=(const Pickle&) = delete;

  const PickleValue& value() const { return *result_; }

 private:
  friend class PickleReader;
  std::deque<PickleValue> values_;  // addresses must not change; owns all values
  std::deque<std::string> texts_;   // bytes that do not appear in the file in this form
  const PickleValue* result_ = nullptr;
};

/// Returns the value of `key` in a dict whose keys are texts or bytes; null if there is none.
const PickleValue* find(const PickleValue& dict, std::string_view key);

}  // namespace sculpt::data
