#include <cmath>

#include "apps/sculpt_analyze/analyses.h"
#include "apps/sculpt_analyze/presentation.h"
#include "engine/analyze/comparison.h"

namespace sculpt::analyze {
namespace {

/// A comparison of two networks.
struct Pair {
  std::string name;  ///< "1-2"
  std::vector<WeightComparison> layers;
  WeightComparison all;
};

Pair compare(Session& session, const NamedNetwork& a, const NamedNetwork& b) {
  Pair pair{
      a.key + "-" + b.key, compare_layers(session.network().parameters(), a.values, b.values), {}};
  pair.all = total(pair.layers);
  return pair;
}

/// The initialisation under the mask of a network: what training has made of the weights that it
/// keeps.
NamedNetwork under_mask_of(const NamedNetwork& initial, const NamedNetwork& network) {
  NamedNetwork masked = initial;
  masked.values.masks = network.values.masks;
  for (size_t i = 0; i < masked.values.weights.size(); ++i)
    if (masked.values.masks[i] == 0) masked.values.weights[i] = 0;
  return masked;
}

void add_row_of(Table& table, const std::string& name, const WeightComparison& c) {
  add_row(table, {name, percent_cell(c.flipped()), c.zeros, c.kept_both, percent_cell(c.overlap()),
                  number_cell(c.distance()), number_cell(c.cosine()), percent_cell(c.density_a()),
                  percent_cell(c.density_b())});
}

/// Returns a table without rows. Its first column names networks or layers.
Table table_of(const std::string& name, const std::string& title, const char* first) {
  Table table{name, title, "", {}, {}};
  set_columns(table, {{first},
                      {"flips (%)"},
                      {"zeros"},
                      {"kept in both"},
                      {"overlap (%)"},
                      {"distance"},
                      {"cosine"},
                      {"a (%)"},
                      {"b (%)"}});
  return table;
}

constexpr const char* kFlipNote =
    "Sign flips are a fraction of the prunable weights that both masks keep. Kept weights that are "
    "exactly 0 have no sign: they are no flips, and are counted apart as zeros.";
constexpr const char* kDistanceNote =
    "Overlap is the Jaccard index of the masks; a and b are the densities of the two networks. "
    "Distance (Euclidean) and cosine are those of all prunable "
    "weights, a masked weight counting as 0.";

void add_values(Analysis& analysis, const std::string& key, const WeightComparison& c) {
  analysis.values["flipped." + key] = c.flipped();
  analysis.values["zeros." + key] = static_cast<double>(c.zeros);
  analysis.values["overlap." + key] = c.overlap();
  analysis.values["distance." + key] = c.distance();
  analysis.values["cosine." + key] = c.cosine();
}

Figure flips_per_step(const std::vector<Pair>& consecutive, const std::vector<Pair>& from_start) {
  Figure figure{"sign-flips",
                "Sign flips",
                "Fraction of the weights kept by both networks whose sign differs.",
                {"cycle"},
                {"sign flips (%)"},
                {}};
  const auto add = [&](const std::string& name, const std::vector<Pair>& pairs, double first) {
    Series series;
    series.name = name;
    series.mark = Mark::line_and_points;
    for (const Pair& pair : pairs) {
      series.x.push_back(first + static_cast<double>(series.x.size()));
      series.y.push_back(100 * pair.all.flipped());
      series.labels.push_back(pair.name);
    }
    if (!series.x.empty()) figure.series.push_back(series);
  };
  add("since the cycle before", consecutive, 2);
  add("since the initialisation", from_start, 1);
  return figure;
}

/// Draws a quantity of each layer, one line for each pair.
template <class Quantity>
Figure per_layer(const std::vector<Pair>& pairs, const char* name, const std::string& title,
                 const std::string& label, const Quantity& quantity) {
  Figure figure{name, title, "Layers in the order of the network.", {"layer"}, {label}, {}};
  for (const Pair& pair : pairs) {
    Series series;
    series.name = pair.name;
    series.mark = Mark::line_and_points;
    for (const WeightComparison& layer : pair.layers) {
      series.x.push_back(static_cast<double>(series.x.size() + 1));
      series.y.push_back(100 * quantity(layer));
      series.labels.push_back(layer.layer);
    }
    figure.series.push_back(series);
  }
  return figure;
}

/// Returns the name of a layer, which is that of its weight without ".weight".
std::string layer_name(const std::string& weight) {
  constexpr std::string_view kSuffix = ".weight";
  return weight.ends_with(kSuffix) ? weight.substr(0, weight.size() - kSuffix.size()) : weight;
}

Table layer_table(const Pair& pair) {
  Table table = table_of("layers-" + pair.name, "Layers, " + pair.name, "layer");
  for (const WeightComparison& layer : pair.layers)
    add_row_of(table, layer_name(layer.layer), layer);
  add_row_of(table, "all", pair.all);
  return table;
}

}  // namespace

Analysis flips(Session& session) {
  const std::vector<NamedNetwork> networks = session.networks_of_run(1);
  const NamedNetwork initial = session.initialisation();
  std::vector<Pair> consecutive, from_start;
  for (size_t i = 0; i < networks.size(); ++i) {
    if (i > 0) consecutive.push_back(compare(session, networks[i - 1], networks[i]));
    from_start.push_back(compare(session, under_mask_of(initial, networks[i]), networks[i]));
  }

  Analysis analysis;
  analysis.name = "flips";
  analysis.title = "Signs, masks and distances along the run";
  Table table = table_of("pairs", "Consecutive cycles, and the initialisation", "networks");
  double sum = 0;
  for (const std::vector<Pair>* pairs : {&consecutive, &from_start})
    for (const Pair& pair : *pairs) {
      add_row_of(table, pair.name, pair.all);
      add_values(analysis, pair.name, pair.all);
    }
  for (const Pair& pair : consecutive)
    sum += pair.all.flipped();
  if (!consecutive.empty())
    analysis.values["flipped.mean"] = sum / static_cast<double>(consecutive.size());
  analysis.tables = {table, layer_table(from_start.back())};
  analysis.figures.push_back(flips_per_step(consecutive, from_start));
  if (!consecutive.empty())
    analysis.figures.push_back(per_layer(consecutive, "sign-flips-per-layer",
                                         "Sign flips of each layer", "sign flips (%)",
                                         [](const auto& layer) { return layer.flipped(); }));
  analysis.figures.push_back(per_layer(from_start, "density-per-layer", "Density of each layer",
                                       "kept weights (%)",
                                       [](const auto& layer) { return layer.density_b(); }));
  analysis.notes = {kFlipNote, kDistanceNote,
                    "The initialisation is compared under the mask of the other network."};
  if (networks.size() == 1)
    analysis.notes.emplace_back(
        "Consecutive cycles are compared if the run has kept their checkpoints (train.keep = "
        "\"cycles\").");
  return analysis;
}

Analysis comparison(Session& session, const NamedNetwork& a, const NamedNetwork& b) {
  const Pair pair = compare(session, a, b);
  Analysis analysis;
  analysis.name = "compare-" + pair.name;
  analysis.title = fmt::format("{} (a) and {} (b)", a.name, b.name);
  analysis.tables = {layer_table(pair)};
  add_values(analysis, pair.name, pair.all);
  analysis.figures.push_back(per_layer({pair}, "sign-flips-per-layer", "Sign flips of each layer",
                                       "sign flips (%)",
                                       [](const auto& layer) { return layer.flipped(); }));
  analysis.notes = {kFlipNote, kDistanceNote};
  return analysis;
}

}  // namespace sculpt::analyze
