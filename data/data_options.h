#pragma once
// This file has the settings under [data] of a config.

#include <cstdint>
#include <string>

#include "engine/core/option_visitor.h"

namespace sculpt::data {

struct DataOptions {
  std::string name = "synthetic";
  std::string root;
  int64_t train_limit = 0;
  int64_t test_limit = 0;
  double val_split = 0.0;
  int64_t crop_padding = 4;
  std::string crop_fill = "black";
  bool flip = true;
  int64_t cutout = 0;
  double label_noise = 0.0;
  int64_t label_noise_seed = 0;
  int64_t synthetic_train = 10000;
  int64_t synthetic_test = 2000;
  int64_t synthetic_seed = 0;

  void visit(OptionVisitor& v);
};

}  // namespace sculpt::data
