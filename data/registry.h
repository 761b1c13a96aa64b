#pragma once
// The table of data sets. A new one is a file with a loader and a row in registry.cpp.

#include <string>
#include <vector>

#include "data/data_options.h"
#include "data/dataset.h"

namespace sculpt::data {

struct DatasetEntry {
  const char* name;     ///< value of data.name
  const char* summary;  ///< one line for people
  ImageShape shape;
  int64_t classes;
  int64_t train_size;  ///< official; 0: options.synthetic_train
  int64_t test_size;   ///< official; 0: options.synthetic_test
  TrainTest (*load)(const DataOptions& options);
  const char* reads;  ///< config keys that only some data sets read, separated by spaces
  /// The training labels; null where they are read from files.
  std::vector<int32_t> (*train_labels)(const DataOptions& options) = nullptr;
};

const std::vector<DatasetEntry>& dataset_table();
std::vector<std::string> dataset_names();

/// Reads options.name's data set. Throws Error naming the file and the fix.
TrainTest load_dataset(const DataOptions& options);

/// Meaningless images in the numbers and sizes of options.name, without reading a file: for what
/// only needs to know those (plans, tables of layers). All are of class 0, except that training
/// labels are right where labels_without_files().
TrainTest blank_dataset(const DataOptions& options);
bool labels_without_files(const DataOptions& options);

}  // namespace sculpt::data
