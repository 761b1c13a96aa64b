// AC/DC (Peste et al. 2021): at some fractions of the schedule the network is pruned to the target,
// by magnitude over all layers together; at others all weights become active again, from 0, and the
// optimizer forgets all steps. Both take turns, and the last phase is sparse.

#include <algorithm>
#include <array>

#include "engine/masks/rule_schedule.h"
#include "engine/masks/rules/rules.h"

namespace sculpt {
namespace {

/// The phases of the paper's recipe for CIFAR, of 200 epochs.
constexpr auto kSparseFrom =
    std::to_array<double>({10 / 200.0, 50 / 200.0, 90 / 200.0, 130 / 200.0, 170 / 200.0});
constexpr auto kDenseFrom =
    std::to_array<double>({30 / 200.0, 70 / 200.0, 110 / 200.0, 150 / 200.0});

std::span<const double> sparse_from(const MaskOptions& options) {
  if (options.sparse_from.empty()) return kSparseFrom;
  return options.sparse_from;
}

std::span<const double> dense_from(const MaskOptions& options) {
  if (options.sparse_from.empty() && options.dense_from.empty()) return kDenseFrom;
  return options.dense_from;
}

/// Returns the last of these fractions whose step has ended in this cycle; 0 if there is none.
double last_of(std::span<const double> fractions, const SchedulePosition& position) {
  double last = 0;
  for (const double fraction : fractions) {
    const int64_t step = step_at(fraction, position.steps);
    if (position.first < step && step <= position.done) last = std::max(last, fraction);
  }
  return last;
}

/// The beginnings of the last sparse and of the last dense phase of the cycle so far. In a short
/// schedule several phases may begin after one step; the last of them counts.
struct Phases {
  double sparse = 0;
  double dense = 0;
  bool none() const { return sparse == 0 && dense == 0; }
  bool is_sparse() const { return sparse > dense; }
  int64_t step(int64_t steps) const { return step_at(std::max(sparse, dense), steps); }
};

Phases phases(const SchedulePosition& position, const MaskOptions& options) {
  return {last_of(sparse_from(options), position), last_of(dense_from(options), position)};
}

/// Returns true if a dense phase has begun in this cycle. A dense phase in a short schedule may
/// have no step of its own before the next sparse phase. It never begins then.
bool was_dense(const SchedulePosition& position, const MaskOptions& options) {
  return std::ranges::any_of(dense_from(options), [&](double fraction) {
    SchedulePosition beginning = position;
    beginning.done = step_at(fraction, position.steps);
    return position.first < beginning.done && beginning.done <= position.done &&
           !phases(beginning, options).is_sparse();
  });
}

bool changes_after(const SchedulePosition& position, const MaskOptions& options) {
  const Phases now = phases(position, options);
  return !now.none() && now.step(position.steps) == position.done;
}

double density_after(const SchedulePosition& position, const DensityRange& range,
                     const MaskOptions& options) {
  const Phases now = phases(position, options);
  if (now.none()) return range.start;
  if (!now.is_sparse()) return 1;
  // A prune keeps all weights of a network that has fewer than the target.
  return was_dense(position, options) ? range.target : std::min(range.start, range.target);
}

void change(MaskChange& change) {
  const MaskMoment& moment = change.moment();
  if (phases(moment.position, moment.options).is_sparse())
    return prune_to(change, moment.range.target);
  change.keep_all();
  change.reset_optimizer();
}

}  // namespace

MaskRule rules::acdc() {
  return {.name = "acdc",
          .changes_density = true,
          .grows_back = true,
          .starts_anywhere = true,
          .changes_after = changes_after,
          .density_after = density_after,
          .change = change,
          .help = "prunes to the density and makes all weights active again, in turn",
          .source = "Peste et al. 2021",
          .reads = "masks.sparse_from masks.dense_from"};
}

}  // namespace sculpt
