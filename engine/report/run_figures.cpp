#include "engine/report/run_figures.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

#include "engine/report/choice.h"
#include "engine/report/scale.h"
#include "engine/report/table_cells.h"
#include "engine/report/ticks.h"
#include "engine/run/prune_effects.h"

namespace sculpt {
namespace {

// On the x axes of epochs, a number is that of the epochs trained before: the values of epoch 3 are
// drawn at 3, and a prune after it, too.

std::vector<Boundary> boundaries_of(const RunRecords& run) {
  std::vector<Boundary> found;
  for (const EpochMetrics& epoch : run.epochs)
    if (epoch.cycle_epoch == 1 && epoch.cycle > 1)
      found.push_back({static_cast<double>(epoch.epoch - 1), fmt::format("cycle {}", epoch.cycle)});
  for (const PruneRecord& prune : run.prunes) {
    if (prune.epoch == 0) continue;
    const double x = static_cast<double>(prune.epoch);
    const auto same = std::ranges::find(found, x, &Boundary::x);
    if (same == found.end())
      found.push_back({x, "prune"});
    else if (run.prunes.size() < 3)
      same->label += ", prune";
  }
  std::ranges::sort(found, {}, &Boundary::x);
  return found;
}

/// Returns the finite values of the epochs.
template <class ValueOf>
Series over_epochs(const RunRecords& run, std::string name, const ValueOf& value_of) {
  Series series;
  series.name = std::move(name);
  for (const EpochMetrics& epoch : run.epochs) {
    const double value = value_of(epoch);
    if (!std::isfinite(value)) continue;
    series.x.push_back(static_cast<double>(epoch.epoch));
    series.y.push_back(value);
  }
  if (series.x.size() <= 20) series.mark = Mark::line_and_points;
  return series;
}

Figure epoch_figure(const RunRecords& run, const char* name, const char* title, Axis y,
                    std::vector<Series> series) {
  Figure figure;
  figure.name = name;
  figure.title = title;
  figure.x.label = "epoch";
  figure.y = std::move(y);
  figure.series = std::move(series);
  figure.boundaries = boundaries_of(run);
  return figure;
}

/// Returns the share of kept weights in percent. A prune is a vertical line, because it takes no
/// epoch.
Series kept_weights(const RunRecords& run) {
  Series series;
  const auto add = [&](int64_t epochs, double density) {
    if (!std::isfinite(density)) return;
    series.x.push_back(static_cast<double>(epochs));
    series.y.push_back(100 * density);
  };
  auto prune = run.prunes.begin();
  const auto add_prunes_before = [&](int64_t epoch) {
    for (; prune != run.prunes.end() && prune->epoch < epoch; ++prune)
      add(prune->epoch, static_cast<double>(prune->kept) /
                            static_cast<double>(std::max<int64_t>(prune->prunable, 1)));
  };
  if (!run.epochs.empty() && run.epochs[0].density == 1) add(0, 1);
  for (const EpochMetrics& epoch : run.epochs) {
    add_prunes_before(epoch.epoch);
    add(epoch.epoch, epoch.density);
  }
  return series;
}

double log_span(const Series& series) {
  Range range;
  for (const double y : series.y)
    range.add(y);
  return range.low > 0 ? range.high / range.low : 1;
}

/// A change of the masks: the records of all layers with one plan step and epoch.
struct RecordedMasks {
  std::string name;
  std::vector<const LayerRecord*> layers;
};

std::vector<RecordedMasks> mask_changes(const RunRecords& run) {
  std::vector<RecordedMasks> found;
  const LayerRecord* last = nullptr;
  for (const LayerRecord& layer : run.layers) {
    const bool same = last != nullptr && last->plan_step == layer.plan_step &&
                      last->epoch == layer.epoch && last->is_prune == layer.is_prune;
    if (!same)
      found.push_back(
          {layer.is_prune
               ? fmt::format("pruned by {} after epoch {}", layer.changed_by, layer.epoch)
               : fmt::format("{} until epoch {}", layer.changed_by, layer.epoch),
           {}});
    found.back().layers.push_back(&layer);
    last = &layer;
  }
  return found;
}

/// Returns "1,713 (18.00 %)", and for CSV files the number and the percentage.
TableCell kept_cell(int64_t kept, int64_t of) {
  const double percent =
      100 * static_cast<double>(kept) / static_cast<double>(std::max<int64_t>(of, 1));
  return {fmt::format("{} ({} %)", grouped_text(kept), fixed_text(percent, 2)),
          std::vector<std::string>{std::to_string(kept), exact_text(percent)}};
}

double share(const LayerRecord& layer) {
  return layer.count > 0 ? static_cast<double>(layer.kept) / static_cast<double>(layer.count) : NAN;
}

}  // namespace

std::string measured_on(const RunRecords& run) {
  const auto found = run.summary_texts.find("evaluated_on");
  if (found != run.summary_texts.end()) return found->second;
  const std::string& split = run.setting("data.val_split");
  return split.empty() || std::strtod(split.c_str(), nullptr) == 0 ? "test" : "validation";
}

std::vector<Figure> epoch_figures(const RunRecords& run) {
  const std::string test = measured_on(run);
  std::vector<Figure> figures;
  const auto percent = [](double fraction) { return 100 * fraction; };
  figures.push_back(
      epoch_figure(run, "loss", "Loss", {"cross-entropy"},
                   {over_epochs(run, "training", [](const auto& e) { return e.train_loss; }),
                    over_epochs(run, test, [](const auto& e) { return e.test_loss; })}));
  figures.back().caption =
      "Training loss is the mean over the epoch, on augmented images and with moving weights.";
  figures.push_back(epoch_figure(
      run, "accuracy", "Accuracy", {"accuracy (%)"},
      {over_epochs(run, "training", [&](const auto& e) { return percent(e.train_accuracy); }),
       over_epochs(run, test, [&](const auto& e) { return percent(e.test_accuracy); })}));
  figures.push_back(epoch_figure(run, "learning-rate", "Learning rate", {"learning rate"},
                                 {over_epochs(run, "", [](const auto& e) { return e.lr; })}));
  figures.back().caption = "The rate of the last step of each epoch.";
  Series kept = kept_weights(run);
  const bool log = log_span(kept) > 8;
  figures.push_back(epoch_figure(run, "kept-weights", "Kept weights", {"kept weights (%)", log},
                                 {std::move(kept)}));
  figures.back().caption = "The share of prunable weights that the masks keep.";
  figures.push_back(
      epoch_figure(run, "speed", "Training speed", {"images per second"},
                   {over_epochs(run, "", [](const auto& e) { return e.images_per_second; })}));
  figures.back().caption = "Training steps alone, without evaluation.";
  if (!figures[0].boundaries.empty())
    figures[0].caption += " Dashed lines mark the beginnings of cycles, and prunes.";
  return figures;
}

Table prune_table(const RunRecords& run) {
  Table table;
  table.name = "prunes";
  table.title = "Effect of each prune";
  table.caption = fmt::format(
      "Accuracy and loss on the {} images: at the end of the epoch before the prune, right after "
      "the prune, and at the end of the training that follows.",
      measured_on(run));
  set_columns(table, {{"after epoch"},
                      {"criterion"},
                      {"allocation"},
                      {"kept", {"kept", "kept (%)"}},
                      {"before", {"before (%)"}},
                      {"right after", {"right after (%)"}},
                      {"change", {"change (percentage points)"}},
                      {"retrained", {"retrained (%)"}},
                      {"loss before"},
                      {"loss right after"}});
  const auto fixed = [](double value, int decimals, const char* unit) {
    return TableCell(
        std::isfinite(value) ? fixed_text(value, decimals) + unit : std::string("\u2013"), value);
  };
  const auto percent = [&](double fraction) { return fixed(100 * fraction, 2, " %"); };
  for (const PruneEffect& effect : prune_effects(run)) {
    const double change = effect.accuracy_after - effect.accuracy_before;
    add_row(table, {effect.epoch, effect.criterion, effect.allocation,
                    kept_cell(effect.kept_after, effect.prunable), percent(effect.accuracy_before),
                    percent(effect.accuracy_after), percent(change), percent(effect.accuracy_later),
                    fixed(effect.loss_before, 4, ""), fixed(effect.loss_after, 4, "")});
  }
  return table;
}

std::optional<Figure> prune_figure(const RunRecords& run) {
  const std::vector<PruneEffect> effects = prune_effects(run);
  if (effects.size() < 2) return {};
  Figure figure;
  figure.name = "prune-effect";
  figure.title = "Accuracy around each prune";
  figure.caption = "Each prune at the share of weights that it keeps.";
  figure.x = {"kept weights after the prune (%)", true, true};
  figure.y.label = measured_on(run) + " accuracy (%)";
  const auto add = [&](const char* name, const auto& value_of) {
    Series series;
    series.name = name;
    series.mark = Mark::line_and_points;
    for (const PruneEffect& effect : effects) {
      const double value = 100 * value_of(effect);
      if (!std::isfinite(value)) continue;
      series.x.push_back(100 * static_cast<double>(effect.kept_after) /
                         static_cast<double>(std::max<int64_t>(effect.prunable, 1)));
      series.y.push_back(value);
    }
    figure.series.push_back(std::move(series));
  };
  add("before", [](const PruneEffect& e) { return e.accuracy_before; });
  add("right after", [](const PruneEffect& e) { return e.accuracy_after; });
  add("after retraining", [](const PruneEffect& e) { return e.accuracy_later; });
  return figure;
}

std::optional<Figure> layer_figure(const RunRecords& run) {
  constexpr size_t kMostChanges = 6;
  const std::vector<RecordedMasks> changes = mask_changes(run);
  if (changes.empty()) return {};
  Figure figure;
  figure.name = "kept-per-layer";
  figure.title = "Kept weights per layer";
  figure.x.label = "prunable layer, from the input to the output";
  figure.y.label = "kept weights (%)";
  Range range;
  for (const size_t i : evenly_chosen(changes.size(), kMostChanges)) {
    Series series;
    series.name = changes[i].name;
    series.mark = Mark::line_and_points;
    for (const LayerRecord* layer : changes[i].layers) {
      series.x.push_back(static_cast<double>(series.x.size() + 1));
      series.y.push_back(100 * share(*layer));
      series.labels.push_back(fmt::format("{}: {} of {}", layer->layer, grouped_text(layer->kept),
                                          grouped_text(layer->count)));
      range.add(series.y.back());
    }
    figure.series.push_back(std::move(series));
  }
  figure.y.log = range.low > 0 && range.high / range.low > 8;
  if (changes.size() > kMostChanges)
    figure.caption =
        fmt::format("{} of {} changes of the masks are shown.", kMostChanges, changes.size());
  return figure;
}

std::optional<Table> layer_table(const RunRecords& run) {
  constexpr size_t kMostChanges = 4;
  const std::vector<RecordedMasks> changes = mask_changes(run);
  if (changes.empty()) return {};
  Table table;
  table.name = "layers";
  table.title = "Kept weights of each layer";
  const std::vector<size_t> shown = evenly_chosen(changes.size(), kMostChanges);
  std::vector<TableColumn> columns = {{"layer"}, {"weights"}};
  for (const size_t i : shown) {
    const std::string& name = changes[i].name;
    columns.push_back({name, {name + ", kept", name + ", kept (%)"}});
  }
  set_columns(table, columns);
  for (const LayerRecord* layer : changes.back().layers) {
    std::vector<TableCell> row = {layer->layer,
                                  {grouped_text(layer->count), static_cast<double>(layer->count)}};
    for (const size_t i : shown) {
      const auto found = std::ranges::find(changes[i].layers, layer->layer, &LayerRecord::layer);
      row.push_back(found == changes[i].layers.end()
                        ? TableCell("\u2013", std::vector<std::string>{"", ""})
                        : kept_cell((*found)->kept, (*found)->count));
    }
    add_row(table, row);
  }
  return table;
}

}  // namespace sculpt
