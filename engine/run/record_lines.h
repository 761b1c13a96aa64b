#pragma once
// Reads the lines of a run's record files. Lines that are damaged are left out and named.

#include <filesystem>
#include <string>
#include <vector>

#include "engine/run/run_reader.h"

namespace sculpt {

/// Read metrics.jsonl, layers.jsonl and prunes.jsonl. A file that is missing has no lines. A last
/// line without its end is left out: a process is just writing it, unless the run has finished. Add
/// a whole sentence to `problems` for each line that is damaged. Throw NewerFormat naming file and
/// line if a newer program wrote it.
std::vector<EpochMetrics> read_epochs(const std::filesystem::path& file, bool finished,
                                      std::vector<std::string>& problems);
std::vector<LayerRecord> read_layers(const std::filesystem::path& file, bool finished,
                                     std::vector<std::string>& problems);
std::vector<PruneRecord> read_prunes(const std::filesystem::path& file, bool finished,
                                     std::vector<std::string>& problems);

}  // namespace sculpt
