#include "engine/ops/kernel_rule.h"

#include <algorithm>

#include "engine/ops/kernel_rule_table.h"
#include "kernels/common/cpu_caches.h"
#include "kernels/common/parallel.h"

namespace sculpt::ops {

namespace {

const RuleSection* find_section(const Machine& machine, bool of_its_cache) {
  const auto* const found = std::ranges::find_if(kRuleSections, [&](const RuleSection& section) {
    return section.backend == machine.backend &&
           (!of_its_cache || section.cache == cache_class(machine.l2_bytes));
  });
  return found == std::end(kRuleSections) ? nullptr : found;
}

const RuleSection& nearest_section(const Machine& machine) {
  for (const bool of_its_cache : {true, false})
    if (const RuleSection* section = find_section(machine, of_its_cache)) return *section;
  return kRuleSections[0];
}

LayerKind kind_of(const PassProblem& problem) {
  const kernels::Conv2dShape& s = problem.shape;
  if (problem.winograd) return LayerKind::winograd;
  if (s.kernel_h == 1 && s.kernel_w == 1) return LayerKind::pointwise;
  if (s.in_channels_per_group() <= 4) return LayerKind::image;
  return s.stride > 1 ? LayerKind::strided : LayerKind::spatial;
}

bool fits(const RuleRow& row, const PassProblem& problem) {
  const kernels::Conv2dShape& s = problem.shape;
  return row.kind == kind_of(problem) &&
         std::min(s.in_channels_per_group(), s.out.channels) <= row.most_channels &&
         s.out.height * s.out.width <= row.most_pixels;
}

}  // namespace

CacheClass cache_class(int64_t l2_bytes) {
  return l2_bytes < int64_t{768} << 10    ? CacheClass::half_mib
         : l2_bytes < int64_t{1536} << 10 ? CacheClass::one_mib
                                          : CacheClass::two_mib;
}

Machine this_machine(std::string_view backend) {
  return {backend, kernels::cpu_caches().l2, thread_count()};
}

double break_even_density(const PassProblem& problem, const Machine& machine) {
  const RuleRow& row =
      *std::ranges::find_if(nearest_section(machine).rows,
                            [&](const RuleRow& candidate) { return fits(candidate, problem); });
  switch (problem.pass) {
    case ConvPass::forward:
      return row.forward;
    case ConvPass::input_grad:
      return row.input_grad;
    case ConvPass::weight_grad:
      return row.weight_grad;
  }
  return row.forward;
}

bool rule_was_measured(const Machine& machine) {
  const RuleSection* section = find_section(machine, /*of_its_cache=*/true);
  return section != nullptr && section->measured;
}

kernels::Choice choose_by_rule(const PassProblem& problem, const Machine& machine) {
  return problem.density <= break_even_density(problem, machine) ? kernels::Choice::sparse
                                                                 : kernels::Choice::native;
}

}  // namespace sculpt::ops
