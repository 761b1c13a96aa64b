#include "apps/sculpt_run/plan_timing.h"

#include <algorithm>
#include <chrono>
#include <map>

#include "engine/core/random.h"

namespace sculpt {
namespace {

using Clock = std::chrono::steady_clock;

// After kSecondsForAll, no further density is timed. After kSecondsForOne, no further step of a
// density is timed.
constexpr double kSecondsForAll = 8;
constexpr double kSecondsForOne = 1;
constexpr int kSteps = 3;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Keeps kept[l] weights of prunable layer l, chosen at random. Each choice is equally likely
/// (Knuth's algorithm S).
void mask_at_random(ParameterArena& parameters, const std::vector<int64_t>& kept) {
  const RandomStream random(0, Purpose::random_score);
  parameters.edit_masks([&](std::span<uint8_t> masks) {
    size_t layer = 0;
    for (const Parameter& p : parameters.parameters()) {
      if (!p.prunable) continue;
      int64_t wanted = kept[layer++];
      for (int64_t i = 0; i < p.count; ++i) {
        const auto at = static_cast<size_t>(p.offset + i);
        const double left = static_cast<double>(p.count - i);
        const bool keep = random.uniform(at) * left < static_cast<double>(wanted);
        masks[at] = keep ? 1 : 0;
        wanted -= keep ? 1 : 0;
      }
    }
  });
}

/// Returns the seconds per image of `body`, from a few batches after one that warms up.
template <class Body>
double seconds_per_image(Network& network, BatchSource& source, const Body& body) {
  const auto start = Clock::now();
  double seconds = 0;
  int64_t images = 0;
  source.start_epoch(0, 0);
  for (int step = 0; step <= kSteps; ++step) {
    if (step > 1 && seconds_since(start) > kSecondsForOne) break;
    const Batch batch = source.next();
    if (batch.count == 0) break;
    const auto step_start = Clock::now();
    const int parts = network.parts_of(batch.whole_count());
    for (int index = 0; index < parts; ++index) {
      network.load(batch, source.normalization(), {index, parts});
      body(index + 1 == parts);
    }
    // The warm-up step counts only if there is no other step.
    if (step == 1) seconds = 0, images = 0;
    seconds += seconds_since(step_start);
    images += batch.count;
  }
  return seconds / static_cast<double>(std::max<int64_t>(images, 1));
}

ImageSeconds time_density(Experiment& experiment, Optimizer& optimizer,
                          const std::vector<int64_t>& kept) {
  Network& network = experiment.network();
  network.initialise(0);
  mask_at_random(network.parameters(), kept);
  network.graph().follow_masks();
  ImageSeconds seconds;
  seconds.train = seconds_per_image(network, experiment.train(), [&](bool last) {
    network.forward(Mode::train);
    network.backward();
    if (last) optimizer.step(0);
  });
  seconds.test =
      seconds_per_image(network, experiment.train(), [&](bool) { network.forward(Mode::eval); });
  return seconds;
}

/// One density at which the plan trains.
struct Point {
  double density = 1;
  const std::vector<int64_t>* kept = nullptr;
  ImageSeconds seconds;
  bool timed = false;
};

/// Returns the index of an untimed point in the middle of the longest run of untimed points, or -1
/// if all are timed. The first and the last point come before all others.
int next_point(const std::vector<Point>& points) {
  const int count = static_cast<int>(points.size());
  for (const int end : {count - 1, 0})
    if (!points[static_cast<size_t>(end)].timed) return end;
  int best = -1, longest = 0, begin = 0;
  for (int i = 0; i < count; ++i) {
    if (!points[static_cast<size_t>(i)].timed) continue;
    if (i - begin > longest && i > begin + 1) {
      longest = i - begin;
      best = (begin + i) / 2;
    }
    begin = i;
  }
  return best;
}

/// Interpolates by density between the nearest points that were timed.
ImageSeconds between(const std::vector<Point>& points, size_t at) {
  size_t low = at, high = at;
  while (!points[low].timed)
    --low;
  while (!points[high].timed)
    ++high;
  if (low == high) return points[at].seconds;
  const double part =
      (points[at].density - points[low].density) / (points[high].density - points[low].density);
  const auto mix = [&](double a, double b) { return a + part * (b - a); };
  return {mix(points[low].seconds.train, points[high].seconds.train),
          mix(points[low].seconds.test, points[high].seconds.test)};
}

}  // namespace

PlanTiming time_plan(Experiment& experiment, const OptimOptions& optim, const PlanCost& cost) {
  std::map<double, Point> by_density;
  for (const PlanStepCost& step : cost.steps)
    if (step.epochs > 0)
      by_density[step.mean_density] = {step.mean_density, &step.mean_kept, {}, false};
  std::vector<Point> points;
  for (const auto& [density, point] : by_density)
    points.push_back(point);

  const auto optimizer = make_optimizer(experiment.network().parameters(), optim);
  const auto start = Clock::now();
  PlanTiming timing;
  timing.densities = static_cast<int64_t>(points.size());
  for (int next = next_point(points); next >= 0; next = next_point(points)) {
    if (timing.timed >= 2 && seconds_since(start) > kSecondsForAll) break;
    Point& point = points[static_cast<size_t>(next)];
    point.seconds = time_density(experiment, *optimizer, *point.kept);
    point.timed = true;
    ++timing.timed;
  }
  for (const PlanStepCost& step : cost.steps) {
    const auto found = std::ranges::find(points, step.mean_density, &Point::density);
    timing.steps.push_back(found == points.end()
                               ? ImageSeconds{}
                               : between(points, static_cast<size_t>(found - points.begin())));
  }
  return timing;
}

double step_seconds(const PlanStepCost& cost, const ImageSeconds& timing, int64_t images,
                    int64_t test_images, int64_t eval_every) {
  const auto epochs = static_cast<double>(cost.epochs);
  const double evaluations = epochs / static_cast<double>(eval_every);
  return epochs * static_cast<double>(images) * timing.train +
         evaluations * static_cast<double>(test_images) * timing.test;
}

}  // namespace sculpt
