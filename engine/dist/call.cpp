#include "engine/dist/call.h"

#include "engine/core/error.h"

namespace sculpt {
namespace {

std::string with_commas(int64_t number) {
  std::string digits = std::to_string(number);
  for (auto at = static_cast<int64_t>(digits.size()) - 3; at > 0; at -= 3)
    digits.insert(static_cast<size_t>(at), ",");
  return digits;
}

std::string counted(const char* what, int64_t count, const char* one) {
  return fmt::format("{} of {} {}{}", what, with_commas(count), one, count == 1 ? "" : "s");
}

}  // namespace

std::string describe(const Call& call) {
  switch (call.kind) {
    case CallKind::none:
      break;
    case CallKind::sum_float:
      return counted("a sum", call.elements, "float");
    case CallKind::sum_double:
      return counted("a sum", call.elements, "double");
    case CallKind::sum_int64:
      return counted("a sum", call.elements, "integer");
    case CallKind::broadcast:
      return counted("a broadcast", call.elements, "byte");
    case CallKind::gather:
      return "a collection of texts";
    case CallKind::barrier:
      return "a barrier";
    case CallKind::finish:
      return "the end of the run";
    case CallKind::end_of_sum:
      return counted("the end of a sum", call.elements, "value");
    case CallKind::gpu_step:
      return "a step of the GPUs";
  }
  return "nothing";
}

}  // namespace sculpt
