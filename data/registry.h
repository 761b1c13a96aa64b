#pragma once
// This file has the table of data sets. To add a data set, write a file with a loader and add a row
// in registry.cpp.

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
  int64_t train_size;  ///< size of the official set; 0: options.synthetic_train
  int64_t test_size;   ///< size of the official set; 0: options.synthetic_test
  TrainTest (*load)(const DataOptions& options);
  const char* reads;  ///< config keys that only some data sets read, separated by spaces
  /// Returns the training labels; null where labels are read from files.
  std::vector<int32_t> (*train_labels)(const DataOptions& options) = nullptr;
};

const std::vector<DatasetEntry>& dataset_table();
std::vector<std::string> dataset_names();

/// Reads the data set that options.name names. Throws Error that names the file and says how to fix
/// it.
TrainTest load_dataset(const DataOptions& options);

/// Returns meaningless images in the numbers and sizes of options.name, without reading a file. It
/// is for code that only needs the numbers and sizes (plans, tables of layers). All images have
/// class 0, except that the training labels are correct if labels_without_files().
TrainTest blank_dataset(const DataOptions& options);
bool labels_without_files(const DataOptions& options);

}  // namespace sculpt::data
