#pragma once
// Finds settings without effect: keys that have another value than their default although nothing
// reads them with the present values of other settings.

#include <string>
#include <string_view>
#include <vector>

#include "apps/sculpt_run/run_options.h"

namespace sculpt {

struct UnusedSetting {
  std::string key;     ///< for example "prune.sparsity"
  std::string reason;  ///< the setting that is responsible, for example "method = \"dense\""
};

/// Returns the unused settings in the order of the config. The tables of methods, criteria,
/// schedules, data sets and models say which keys each of their rows reads. A key that one kind of
/// device reads and another does not counts as read.
std::vector<UnusedSetting> unused_settings(const RunOptions& options, const Plan& plan);

/// Returns one line for all of these settings; no line if there is none.
std::vector<std::string> warning_of(const std::vector<UnusedSetting>& unused);

/// Returns true if some table or rule decides whether this key is read.
bool read_conditionally(std::string_view key);
/// Returns the keys that every run reads.
const std::vector<std::string_view>& keys_always_read();

}  // namespace sculpt
