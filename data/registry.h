#pragma once
// The table of data sets. A new one is a file with a loader and a row in registry.cpp.

#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/options.h"

namespace sculpt::data {

struct DatasetEntry {
  const char* name;     ///< value of data.name
  const char* summary;  ///< one line for people
  TrainTest (*load)(const DataOptions& options);
};

const std::vector<DatasetEntry>& dataset_table();
std::vector<std::string> dataset_names();

/// Reads options.name's data set. Throws Error naming the file and the fix.
TrainTest load_dataset(const DataOptions& options);

}  // namespace sculpt::data
