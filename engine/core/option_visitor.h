#pragma once
// Option structs own the names, defaults, ranges and help of their settings: a struct has
//
//   void visit(OptionVisitor& v) { v.integer("batch", batch, {1, 65536}, "images per step"); ... }
//
// and everything else is derived by visitors: reading TOML, --set, --help, docs/config.md, and the
// resolved config of a run folder. A default is the value the member is initialised with.

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace sculpt {

struct IntegerRange {
  int64_t low = std::numeric_limits<int64_t>::min();
  int64_t high = std::numeric_limits<int64_t>::max();
};

/// The bounds belong to the range unless `low_open` or `high_open` is set.
struct RealRange {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  bool low_open = false;
  bool high_open = false;
};

class OptionVisitor {
 public:
  virtual ~OptionVisitor() = default;
  virtual void integer(std::string_view name, int64_t& value, IntegerRange range,
                       std::string_view help) = 0;
  virtual void real(std::string_view name, double& value, RealRange range,
                    std::string_view help) = 0;
  virtual void boolean(std::string_view name, bool& value, std::string_view help) = 0;
  virtual void text(std::string_view name, std::string& value, std::string_view help) = 0;
  /// The value is one of a fixed list of words.
  virtual void choice(std::string_view name, std::string& value,
                      const std::vector<std::string>& allowed, std::string_view help) = 0;
  /// The value is one of a fixed list of words, or a whole number of at least 1 without quotes,
  /// which `value` then holds as text.
  virtual void choice_or_count(std::string_view name, std::string& value,
                               const std::vector<std::string>& allowed, std::string_view help) = 0;
  virtual void reals(std::string_view name, std::vector<double>& values, RealRange range,
                     std::string_view help) = 0;
  virtual void texts(std::string_view name, std::vector<std::string>& values,
                     std::string_view help) = 0;
};

}  // namespace sculpt
