#include "engine/analyze/connectivity.h"

#include <algorithm>
#include <cmath>

#include "apps/sculpt_analyze/analyses.h"
#include "apps/sculpt_analyze/presentation.h"
#include "apps/sculpt_run/request.h"
#include "apps/sculpt_run/terminal.h"

namespace sculpt::analyze {
namespace {

struct MeasuredLine {
  std::string name;  ///< "1-2"
  Line line;
};

std::vector<MeasuredLine> measure(Session& session, const ConnectivityOptions& options) {
  if (!options.between.empty() && options.between.size() != 2)
    throw UsageError("--between needs two networks");
  std::vector<NamedNetwork> networks;
  if (options.between.empty())
    networks = session.networks_of_run(2);
  else
    for (const std::string& name : options.between)
      networks.push_back(session.named(name));
  const AnalysisImages images = session.images(options.images);
  std::vector<MeasuredLine> lines;
  for (size_t i = 0; i + 1 < networks.size(); ++i) {
    say("from {} to {} ...\n", networks[i].name, networks[i + 1].name);
    lines.push_back({networks[i].key + "-" + networks[i + 1].key,
                     evaluate_line(session.network(), networks[i].values, networks[i + 1].values,
                                   options.points, images)});
  }
  return lines;
}

/// Adds the curve of one quantity for each line. Interpolated statistics are drawn paler.
template <class Quantity>
Figure curves(const std::vector<MeasuredLine>& lines, const char* name, const std::string& label,
              const Quantity& quantity) {
  Figure figure{name,
                label + " on the line between two networks",
                "Bright lines have batch norm statistics that are recomputed on training images at "
                "every point; pale lines have interpolated statistics.",
                {"alpha"},
                {label},
                {}};
  int64_t group = 0;
  for (const MeasuredLine& measured : lines) {
    const auto add = [&](const std::vector<LinePoint>& points, bool pale) {
      if (points.empty()) return;
      Series series;
      series.name = pale ? "" : measured.name;
      series.group = group;
      series.pale = pale;
      for (const LinePoint& point : points) {
        series.x.push_back(point.alpha);
        series.y.push_back(quantity(point));
      }
      figure.series.push_back(series);
    };
    add(measured.line.interpolated, true);
    add(measured.line.recomputed, false);
    ++group;
  }
  return figure;
}

void add_values(Analysis& analysis, const std::string& name, const std::string& line,
                const Barriers& barriers) {
  const auto add = [&](const char* quantity, double value) {
    analysis.values[fmt::format("{}_{}.{}", name, quantity, line)] = value;
  };
  add("test_error", barriers.test_error);
  add("test_loss", barriers.test_loss);
  add("train_error", barriers.train_error);
  add("train_loss", barriers.train_loss);
}

/// Adds mean and largest value over all lines of each quantity whose values are named
/// "<quantity>.<line>".
void add_totals(Analysis& analysis, const std::vector<MeasuredLine>& lines) {
  for (const char* quantity : {"test_error", "test_loss", "train_error", "train_loss"}) {
    double sum = 0, most = -INFINITY;
    for (const MeasuredLine& line : lines) {
      const double value = analysis.values[fmt::format("barrier_{}.{}", quantity, line.name)];
      sum += value;
      most = std::max(most, value);
    }
    analysis.values[fmt::format("barrier_{}.mean", quantity)] =
        sum / static_cast<double>(lines.size());
    analysis.values[fmt::format("barrier_{}.max", quantity)] = most;
  }
}

}  // namespace

Analysis connectivity(Session& session, const ConnectivityOptions& options) {
  const std::vector<MeasuredLine> lines = measure(session, options);
  Analysis analysis;
  analysis.name = options.between.empty() ? "connectivity-cycles" : "connectivity-" + lines[0].name;
  analysis.title = options.between.empty() ? "Linear mode connectivity of consecutive cycles"
                                           : "Linear mode connectivity";
  const std::string on = session.measured_on();
  Table table{"barriers",
              "Barriers",
              "A barrier is the largest value on the line minus the mean of its two ends. "
              "\"Interpolated\" is the barrier of the " +
                  on + " error with interpolated batch norm statistics.",
              {},
              {}};
  set_columns(table, {{"networks"},
                      {on + " error (%)"},
                      {"train error (%)"},
                      {on + " loss"},
                      {"train loss"},
                      {"interpolated (%)"},
                      {"connected"}});
  Series barrier_series;
  barrier_series.mark = Mark::line_and_points;
  for (const MeasuredLine& measured : lines) {
    const Barriers barriers = barriers_of(measured.line.recomputed);
    add_values(analysis, "barrier", measured.name, barriers);
    double interpolated = barriers.test_error;
    if (!measured.line.interpolated.empty()) {
      const Barriers plain = barriers_of(measured.line.interpolated);
      add_values(analysis, "barrier_interpolated", measured.name, plain);
      interpolated = plain.test_error;
    }
    const bool connected = barriers.test_error < kConnectedBelow;
    analysis.values["connected." + measured.name] = connected ? 1 : 0;
    add_row(table,
            {measured.name, percent_cell(barriers.test_error), percent_cell(barriers.train_error),
             number_cell(barriers.test_loss), number_cell(barriers.train_loss),
             percent_cell(interpolated), connected ? "yes" : "no"});
    barrier_series.x.push_back(static_cast<double>(barrier_series.x.size() + 1));
    barrier_series.y.push_back(100 * barriers.test_error);
    barrier_series.labels.push_back(measured.name);
  }
  add_totals(analysis, lines);
  analysis.tables.push_back(table);
  analysis.figures.push_back(
      curves(lines, "line-error", on + " error (%)",
             [](const LinePoint& point) { return 100 * (1 - point.test.accuracy); }));
  analysis.figures.push_back(curves(lines, "line-train-loss", "train loss",
                                    [](const LinePoint& point) { return point.train.loss; }));
  if (lines.size() > 1)
    analysis.figures.push_back({"barriers",
                                "Barrier between consecutive cycles",
                                "Largest error on the line minus the mean of its ends.",
                                {"pair of cycles"},
                                {"barrier (percentage points)"},
                                {barrier_series}});
  const AnalysisImages images = session.images(options.images);
  analysis.notes = {
      fmt::format("{} evenly spaced values of alpha, 0 and 1 included; weights are masked by the "
                  "union of both masks.",
                  options.points),
      fmt::format("Curves on {} training images without augmentation, and on all {} {} images.",
                  images.train_count, session.test().size(), on),
      fmt::format("Unless said otherwise, batch norm's statistics are recomputed on the same {} "
                  "training images at every alpha.",
                  images.train_count),
      fmt::format("Two networks count as connected if the barrier of the {} error is below {:g} "
                  "percentage points.",
                  on, 100 * kConnectedBelow)};
  return analysis;
}

}  // namespace sculpt::analyze
