#include <algorithm>
#include <cmath>

#include "apps/sculpt_analyze/analyses.h"
#include "apps/sculpt_analyze/presentation.h"
#include "engine/analyze/mask_structure.h"

namespace sculpt::analyze {
namespace {

struct Masked {
  std::string name, key;
  std::vector<LayerStructure> layers;
};

std::string layer_name(const std::string& weight) {
  constexpr std::string_view kSuffix = ".weight";
  return weight.ends_with(kSuffix) ? weight.substr(0, weight.size() - kSuffix.size()) : weight;
}

double share(double part, double whole) {
  return whole > 0 ? part / whole : NAN;
}

/// Returns a cell with the least density, the densities at 10, 50 and 90 %, and the greatest one,
/// in %.
TableCell densities_cell(const GroupDensities& densities) {
  std::string text;
  std::vector<double> exact;
  for (const double at : {0.0, 0.1, 0.5, 0.9, 1.0}) {
    const double density = 100 * densities.quantile(at);
    text += fmt::format("{}{:.1f}", text.empty() ? "" : " ", density);
    exact.push_back(density);
  }
  return {text, exact};
}

TableColumn densities_column(const std::string& name, const std::string& csv) {
  return {name,
          {csv + ", least (%)", csv + ", 10 % (%)", csv + ", median (%)", csv + ", 90 % (%)",
           csv + ", greatest (%)"}};
}

TableCell ratio_cell(double value) {
  return {std::isfinite(value) ? fmt::format("{:.2f}", value) : "-", value};
}

/// Returns a cell with a count, and in parentheses the mean of the count over random masks.
TableCell count_cell(int64_t count, double expected) {
  return {fmt::format("{} ({:.1f})", count, expected),
          std::vector<double>{static_cast<double>(count), expected}};
}

Table layer_table(const Masked& masked) {
  Table table{"layers-" + masked.key, "Layers, " + masked.name, "", {}, {}};
  set_columns(table, {{"layer"},
                      {"kept (%)"},
                      densities_column("filters: least, 10, 50, 90 %, most (%)", "filters"),
                      {"filter spread"},
                      densities_column("inputs: least, 10, 50, 90 %, most (%)", "inputs"),
                      {"input spread"},
                      {"empty kernels (%)"},
                      {"if random (%)", {"empty kernels of a random mask (%)"}},
                      {"dead filters", {"dead filters", "dead filters of a random mask"}},
                      {"dead inputs", {"dead inputs", "dead inputs of a random mask"}}});
  for (const LayerStructure& layer : masked.layers) {
    const auto kernels = static_cast<double>(layer.kernels);
    add_row(table, {layer_name(layer.name), percent_cell(layer.density()),
                    densities_cell(layer.filters), ratio_cell(layer.filters.spread()),
                    densities_cell(layer.inputs), ratio_cell(layer.inputs.spread()),
                    percent_cell(share(static_cast<double>(layer.empty_kernels), kernels)),
                    percent_cell(share(layer.random_empty_kernels, kernels)),
                    count_cell(layer.filters.dead, layer.filters.random_dead),
                    count_cell(layer.inputs.dead, layer.inputs.random_dead)});
  }
  return table;
}

/// Returns the median over the layers for which the quantity is a number.
template <class Quantity>
double median(const std::vector<LayerStructure>& layers, const Quantity& quantity) {
  std::vector<double> values;
  for (const LayerStructure& layer : layers)
    if (const double value = quantity(layer); std::isfinite(value)) values.push_back(value);
  if (values.empty()) return NAN;
  std::ranges::sort(values);
  return values[values.size() / 2];
}

/// The sums and medians over the layers of a network.
struct Summary {
  int64_t count = 0, kept = 0, kernels = 0, empty = 0;
  int64_t filters = 0, dead_filters = 0, inputs = 0, dead_inputs = 0;
  double random_empty = 0, random_dead_filters = 0, random_dead_inputs = 0;
  double filter_spread = 0, input_spread = 0;

  explicit Summary(const std::vector<LayerStructure>& layers)
      : filter_spread(median(layers, [](const auto& layer) { return layer.filters.spread(); })),
        input_spread(median(layers, [](const auto& layer) { return layer.inputs.spread(); })) {
    for (const LayerStructure& layer : layers) {
      count += layer.count;
      kept += layer.kept;
      filters += std::ssize(layer.filters.sorted);
      inputs += std::ssize(layer.inputs.sorted);
      dead_filters += layer.filters.dead;
      dead_inputs += layer.inputs.dead;
      random_dead_filters += layer.filters.random_dead;
      random_dead_inputs += layer.inputs.random_dead;
      if (layer.kernels == layer.count) continue;  // kernels of one weight
      kernels += layer.kernels;
      empty += layer.empty_kernels;
      random_empty += layer.random_empty_kernels;
    }
  }
  double density() const { return share(static_cast<double>(kept), static_cast<double>(count)); }
  double empty_share() const {
    return share(static_cast<double>(empty), static_cast<double>(kernels));
  }
  double random_empty_share() const { return share(random_empty, static_cast<double>(kernels)); }
};

Table summary_table(const std::vector<Masked>& networks) {
  Table table{"structure", "All layers", "", {}, {}};
  set_columns(table, {{"mask"},
                      {"kept (%)"},
                      {"filter spread"},
                      {"input spread"},
                      {"empty kernels (%)"},
                      {"if random (%)", {"empty kernels of a random mask (%)"}},
                      {"dead filters", {"dead filters", "dead filters of a random mask"}},
                      {"of", {"filters"}},
                      {"dead inputs", {"dead inputs", "dead inputs of a random mask"}},
                      {"of", {"inputs"}}});
  for (const Masked& masked : networks) {
    const Summary all(masked.layers);
    add_row(table, {masked.name, percent_cell(all.density()), ratio_cell(all.filter_spread),
                    ratio_cell(all.input_spread), percent_cell(all.empty_share()),
                    percent_cell(all.random_empty_share()),
                    count_cell(all.dead_filters, all.random_dead_filters), all.filters,
                    count_cell(all.dead_inputs, all.random_dead_inputs), all.inputs});
  }
  return table;
}

void add_values(Analysis& analysis, const Masked& masked) {
  const Summary all(masked.layers);
  const auto add = [&](const char* name, double value) {
    analysis.values[fmt::format("{}.{}", name, masked.key)] = value;
  };
  add("density", all.density());
  add("filter_spread", all.filter_spread);
  add("input_spread", all.input_spread);
  add("empty_kernels", all.empty_share());
  add("random_empty_kernels", all.random_empty_share());
  add("dead_filters", static_cast<double>(all.dead_filters));
  add("random_dead_filters", all.random_dead_filters);
  add("dead_inputs", static_cast<double>(all.dead_inputs));
  add("random_dead_inputs", all.random_dead_inputs);
}

/// Draws the spread of each layer, one line for each network.
Figure spread_figure(const std::vector<Masked>& networks, const std::string& what,
                     GroupDensities LayerStructure::*densities) {
  Figure figure{fmt::format("spread-of-{}", what),
                fmt::format("Spread of the densities of {}", what),
                "Layers in the order of the network. A random mask has a spread of about 1.",
                {"layer"},
                {"spread / spread of a random mask"},
                {}};
  for (const Masked& masked : networks) {
    Series series;
    series.name = masked.name;
    series.mark = Mark::line_and_points;
    for (const LayerStructure& layer : masked.layers) {
      series.x.push_back(static_cast<double>(series.x.size() + 1));
      series.y.push_back((layer.*densities).spread());
      series.labels.push_back(layer_name(layer.name));
    }
    figure.series.push_back(series);
  }
  return figure;
}

}  // namespace

Analysis structure(Session& session, const std::vector<NamedNetwork>& networks) {
  std::vector<Masked> all;
  for (const NamedNetwork& network : networks)
    all.push_back(
        {network.name, network.key, mask_structure(session.network(), network.values.masks)});

  Analysis analysis;
  analysis.name = networks.size() == 1 ? "structure-" + networks[0].key : "structure";
  analysis.title = "Where the kept weights lie inside the layers";
  analysis.tables.push_back(summary_table(all));
  for (const Masked& masked : all) {
    analysis.tables.push_back(layer_table(masked));
    add_values(analysis, masked);
  }
  analysis.figures = {spread_figure(all, "filters", &LayerStructure::filters),
                      spread_figure(all, "inputs", &LayerStructure::inputs)};
  analysis.notes = {
      "A filter is all weights of an output channel, and an input all weights that read an input "
      "channel. Densities are kept weights / weights of a filter or of an input.",
      "Spread is the standard deviation of these densities, divided by that of a random mask that "
      "keeps as many weights of the layer (hypergeometric distribution). It is about 1 for a "
      "random mask, and greater if the mask prefers some filters or inputs. The table of all "
      "layers has the median over the layers.",
      "A kernel is all weights of a pair of an output and an input channel. The table of all "
      "layers counts only layers whose kernels have more than one weight.",
      "A dead filter or input keeps no weight. Numbers in parentheses are means over random "
      "masks."};
  return analysis;
}

}  // namespace sculpt::analyze
