#pragma once
// Settings without effect: keys that were given another value than their default, but that nothing
// reads with the other settings as they are.

#include <string>
#include <string_view>
#include <vector>

#include "apps/sculpt_run/run_options.h"

namespace sculpt {

struct UnusedSetting {
  std::string key;     ///< "prune.sparsity"
  std::string reason;  ///< "method = \"dense\"": the setting that makes it so
};

/// In the order of the config. What each method, criterion, schedule, data set and model reads
/// stands in its table. Keys that one kind of device reads and another does not count as read.
std::vector<UnusedSetting> unused_settings(const RunOptions& options, const Plan& plan);

/// One line for all of them; empty if there is none.
std::vector<std::string> unused_settings_warning(const RunOptions& options, const Plan& plan);

/// Whether some table or rule decides if this key is read.
bool read_conditionally(std::string_view key);
/// Keys that every run reads.
const std::vector<std::string_view>& keys_always_read();

}  // namespace sculpt
