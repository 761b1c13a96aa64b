#include "engine/ops/kernel_choice.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

#include "kernels/common/stopwatch.h"

namespace sculpt::ops {

using kernels::Choice;
using kernels::Timing;

namespace {

double rounded_to_quarter_octave(double density) {
  return std::exp2(std::round(4 * std::log2(density)) / 4);
}

double microseconds(const std::function<void()>& run) {
  const double start = working_seconds();
  run();
  return 1e6 * (working_seconds() - start);
}

}  // namespace

Choice choice_of(const kernels::PassKernels& chosen, ConvPass pass) {
  return pass == ConvPass::forward      ? chosen.forward
         : pass == ConvPass::input_grad ? chosen.input_grad
                                        : chosen.weight_grad;
}

std::string choice_key(const PassProblem& problem) {
  const kernels::Conv2dShape& s = problem.shape;
  return fmt::format(
      "sparse {}{} {}x{}x{} to {}, {}x{} stride {} padding {} groups {}, batch {}, "
      "{:.2g} % kept",
      name_of(problem.pass), problem.winograd ? " against winograd" : "", s.in.channels,
      s.in.height, s.in.width, s.out.channels, s.kernel_h, s.kernel_w, s.stride, s.padding,
      s.groups, problem.batch, 100 * rounded_to_quarter_octave(problem.density));
}

Timing time_alternately(Choice expected, const std::function<void()>& native,
                        const std::function<void()>& sparse) {
  constexpr int kLeastRounds = 2, kMostRounds = 12;
  constexpr double kClear = 1.5, kMostMicroseconds = 250e3;
  native();  // a first run brings memory and caches into the state of a training step
  sparse();
  Timing best = {HUGE_VAL, HUGE_VAL, Choice::sparse};
  double spent = 0;
  for (int round = 1; round <= kMostRounds; ++round) {
    const double of_native = microseconds(native), of_sparse = microseconds(sparse);
    spent += of_native + of_sparse;
    best.native = std::min(best.native, of_native);
    best.other = std::min(best.other, of_sparse);
    const auto [less, more] = std::minmax(best.native, best.other);
    const bool clear = more > kClear * less && best.faster() == expected;
    if (round >= kLeastRounds && clear) break;
    if (round > kLeastRounds && spent > kMostMicroseconds) break;
  }
  return best;
}

}  // namespace sculpt::ops
