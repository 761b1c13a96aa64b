#include "engine/analyze/surface.h"

#include <algorithm>

#include "apps/sculpt_analyze/analyses.h"
#include "apps/sculpt_analyze/presentation.h"
#include "apps/sculpt_run/terminal.h"

namespace sculpt::analyze {

Analysis surfaces(Session& session, const std::vector<NamedNetwork>& networks,
                  const SurfaceCommandOptions& options) {
  const AnalysisImages images = session.images(options.images);
  Analysis analysis;
  analysis.name = networks.size() == 1 ? "surface-" + networks[0].key : "surface";
  analysis.title = "Loss surface";
  Table table{"surface", "Loss on the plane", "", {}, {}};
  set_columns(table, {{"network"}, {"at the network"}, {"lowest"}, {"highest"}, {"mean"}});
  for (const NamedNetwork& network : networks) {
    say("{} ...\n", network.name);
    const Surface surface = measure_surface(
        session.network(), network.values, images,
        {.points = options.points, .extent = options.extent, .seed = session.seed()});
    double sum = 0;
    for (const double loss : surface.loss)
      sum += loss;
    const double mean = sum / static_cast<double>(surface.loss.size());
    const double lowest = std::ranges::min(surface.loss), highest = std::ranges::max(surface.loss);
    const bool has_centre = options.points % 2 == 1;
    const double centre = has_centre ? surface.loss[surface.loss.size() / 2] : NAN;
    add_row(table, {network.name, number_cell(centre), number_cell(lowest), number_cell(highest),
                    number_cell(mean)});
    analysis.values["loss_mean." + network.key] = mean;
    analysis.values["loss_lowest." + network.key] = lowest;
    analysis.values["loss_highest." + network.key] = highest;
    HeatMap map;
    map.name = "surface-" + network.key;
    map.title = "Loss around " + network.name;
    map.caption =
        "The plane is spanned by two random directions, normalised filter by filter; the network "
        "lies in the middle. The colours follow the logarithm of the loss.";
    map.x = {"first direction"};
    map.y = {"second direction"};
    map.value_label = "train loss";
    map.xs = map.ys = surface.steps;
    map.values = surface.loss;
    map.log = lowest > 0;
    analysis.heat_maps.push_back(map);
  }
  analysis.tables.push_back(table);
  analysis.notes = {
      fmt::format("Mean cross-entropy over {} training images without augmentation, in evaluation "
                  "mode, at {} x {} points of [{:g}, {:g}]^2.",
                  images.train_count, options.points, options.points, -options.extent,
                  options.extent),
      fmt::format(
          "Both directions are random numbers of the seed {}, the same for every network of "
          "these shapes. They are masked, have the norm of the network's weights in every "
          "filter, and are 0 for biases and batch norm.",
          session.seed())};
  return analysis;
}

}  // namespace sculpt::analyze
