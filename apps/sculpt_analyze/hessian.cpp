#include "engine/analyze/hessian.h"

#include <cmath>

#include "apps/sculpt_analyze/analyses.h"
#include "apps/sculpt_analyze/presentation.h"
#include "apps/sculpt_run/terminal.h"
#include "engine/analyze/network_values.h"

namespace sculpt::analyze {
namespace {

constexpr int64_t kEnoughImages = 4096;

struct Curvature {
  std::string name, key;
  int64_t size = 0;
  TopEigenvalues top;
  TraceEstimate trace;
};

Curvature measure(Session& session, const NamedNetwork& network, const AnalysisImages& images,
                  const HessianOptions& options) {
  say("{} ...\n", network.name);
  set_values(session.network(), network.values);
  const KeptHessian hessian(train_loss(session.network(), images));
  Curvature curvature;
  curvature.name = network.name;
  curvature.key = network.key;
  curvature.size = hessian.size();
  curvature.top =
      largest_eigenvalues(hessian, session.seed(), {.count = static_cast<int>(options.top)});
  if (options.trace)
    curvature.trace = estimate_trace(hessian, session.seed(), static_cast<int>(options.probes));
  return curvature;
}

std::vector<NamedNetwork> networks_of(Session& session) {
  const Target& target = session.target();
  if (!target.checkpoint) return session.networks_of_run(1);
  return {session.named(target.checkpoint->string())};
}

Table table_of(const std::vector<Curvature>& curvatures, const HessianOptions& options) {
  Table table{"curvature",
              "Curvature",
              "Each eigenvalue is a Rayleigh quotient v'Hv, followed by the norm of the residual "
              "Hv - value * v.",
              {},
              {}};
  std::vector<TableColumn> columns = {{"network"}, {"kept weights"}};
  for (int64_t i = 1; i <= options.top; ++i) {
    columns.push_back({fmt::format("eigenvalue {}", i)});
    columns.push_back({"residual", {fmt::format("residual {}", i)}});
  }
  columns.push_back({"smallest Ritz value"});
  columns.push_back({"products", {"products", "converged"}});
  if (options.trace) {
    columns.push_back({"trace"});
    columns.push_back({"standard error"});
  }
  set_columns(table, columns);
  for (const Curvature& curvature : curvatures) {
    std::vector<TableCell> row = {curvature.name, curvature.size};
    for (size_t i = 0; i < static_cast<size_t>(options.top); ++i) {
      const bool has = i < curvature.top.largest.size();
      row.push_back(number_cell(has ? curvature.top.largest[i].value : NAN));
      row.push_back(number_cell(has ? curvature.top.largest[i].residual : NAN));
    }
    row.push_back(number_cell(curvature.top.smallest_ritz));
    const bool converged = curvature.top.converged;
    row.emplace_back(
        fmt::format("{}{}", curvature.top.iterations, converged ? "" : " (not converged)"),
        std::vector<std::string>{std::to_string(curvature.top.iterations),
                                 converged ? "yes" : "no"});
    if (options.trace) {
      row.push_back(number_cell(curvature.trace.trace));
      row.push_back(number_cell(curvature.trace.standard_error));
    }
    add_row(table, row);
  }
  return table;
}

void add_values(Analysis& analysis, const Curvature& curvature, const std::string& key,
                bool trace) {
  for (size_t i = 0; i < curvature.top.largest.size(); ++i) {
    analysis.values[fmt::format("eigenvalue_{}.{}", i + 1, key)] = curvature.top.largest[i].value;
    analysis.values[fmt::format("residual_{}.{}", i + 1, key)] = curvature.top.largest[i].residual;
  }
  analysis.values["converged." + key] = curvature.top.converged ? 1 : 0;
  analysis.values["smallest_ritz." + key] = curvature.top.smallest_ritz;
  if (!trace) return;
  analysis.values["trace." + key] = curvature.trace.trace;
  analysis.values["trace_standard_error." + key] = curvature.trace.standard_error;
}

Figure figure_of(const std::vector<Curvature>& curvatures, const char* name,
                 const std::string& label, const auto& value_and_spread) {
  Series series;
  series.mark = Mark::line_and_points;
  for (const Curvature& curvature : curvatures) {
    const auto [value, spread] = value_and_spread(curvature);
    series.x.push_back(static_cast<double>(series.x.size() + 1));
    series.y.push_back(value);
    series.spread.push_back(spread);
    series.labels.push_back(curvature.name);
  }
  return {name, label + " per checkpoint", "", {"checkpoint"}, {label}, {series}};
}

}  // namespace

Analysis hessian(Session& session, const HessianOptions& options) {
  const AnalysisImages images = session.images(options.images);
  std::vector<Curvature> curvatures;
  for (const NamedNetwork& network : networks_of(session))
    curvatures.push_back(measure(session, network, images, options));

  Analysis analysis;
  analysis.name = session.target().checkpoint ? "hessian-" + curvatures[0].key : "hessian";
  analysis.title = "Curvature of the training loss";
  analysis.tables.push_back(table_of(curvatures, options));
  for (const Curvature& curvature : curvatures)
    add_values(analysis, curvature, curvature.key, options.trace);
  add_values(analysis, curvatures.back(), "last", options.trace);
  if (curvatures.size() > 1) {
    Figure largest = figure_of(
        curvatures, "largest-eigenvalue", "largest eigenvalue", [](const Curvature& curvature) {
          return std::pair(curvature.top.largest[0].value, curvature.top.largest[0].residual);
        });
    largest.caption = "Error bars are the norms of the residuals Hv - value * v.";
    analysis.figures.push_back(largest);
    if (options.trace) {
      Figure trace = figure_of(curvatures, "trace", "trace", [](const Curvature& curvature) {
        return std::pair(curvature.trace.trace, curvature.trace.standard_error);
      });
      trace.caption = "Error bars are standard errors over the probes.";
      analysis.figures.push_back(trace);
    }
  }
  analysis.notes = {
      fmt::format("Mean cross-entropy over {} training images without augmentation, in evaluation "
                  "mode, without weight decay and label smoothing.",
                  images.train_count),
      "The Hessian is that with respect to the kept prunable weights. Biases, and gamma and beta "
      "of "
      "batch norm, are constants.",
      "Lanczos iteration with full reorthogonalisation: at most 100 products, until no value "
      "changes by more than 1e-3. An eigenvalue lies within the residual of each value."};
  if (options.trace)
    analysis.notes.push_back(fmt::format(
        "Hutchinson's estimate of the trace, with {} probes of +1 and -1.", options.probes));
  if (images.train_count < kEnoughImages)
    analysis.notes.push_back(fmt::format(
        "With {} images the curvature is that of a small sample. Use {} or more to compare "
        "networks (--images).",
        images.train_count, kEnoughImages));
  return analysis;
}

}  // namespace sculpt::analyze
