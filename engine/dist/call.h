#pragma once
// Describes the calls that a rank makes of its communicator. Ranks tell each other their newest
// call, so that a message can say where the others wait.

#include <compare>
#include <cstdint>
#include <string>

namespace sculpt {

enum class CallKind : int32_t {
  none,
  sum_float,
  sum_double,
  sum_int64,
  broadcast,
  gather,
  barrier,
  finish,
  end_of_sum,
  gpu_step,
};

struct Call {
  CallKind kind = CallKind::none;
  int64_t elements = 0;  ///< of an array that has the same size on every rank; else 0

  auto operator<=>(const Call&) const = default;
};

/// Returns "a sum of 270,000 floats", "a broadcast of 8 bytes", "a barrier".
std::string describe(const Call& call);

}  // namespace sculpt
