#pragma once
// Figures and tables of a single run. Only the files of engine/report include this header.

#include <optional>
#include <vector>

#include "engine/report/figure.h"
#include "engine/run/run_reader.h"

namespace sculpt {

/// Returns "test" or "validation": the images behind every accuracy of the run.
std::string measured_on(const RunRecords& run);

/// Returns loss, accuracy, learning rate, kept weights and speed over the epochs. The beginnings of
/// cycles and the prunes are marked.
std::vector<Figure> epoch_figures(const RunRecords& run);

Table prune_table(const RunRecords& run);
/// Returns accuracies before and after each prune; nothing if there are fewer than two.
std::optional<Figure> prune_figure(const RunRecords& run);

/// Returns the share of kept weights of each layer after the changes of the masks, at most six of
/// them; nothing if none is recorded.
std::optional<Figure> layer_figure(const RunRecords& run);
std::optional<Table> layer_table(const RunRecords& run);

}  // namespace sculpt
