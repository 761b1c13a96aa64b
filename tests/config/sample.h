#pragma once
// A small config for tests.

#include <string>
#include <vector>

#include "engine/config/config.h"

namespace sculpt::testing {

struct Sample {
  std::string method = "dense";
  std::vector<std::string> plan;
  int64_t epochs = 10;
  double lr = 0.1;
  double rate = 0.5;
  bool flip = true;
  std::string root;
  std::string keep = "none";
  std::vector<double> milestones = {0.25, 0.5};

  ConfigSections sections() {
    return {{"", "Top.",
             [this](OptionVisitor& v) {
               v.choice("method", method, {"dense", "sculpt", "cyclic"}, "what to do");
               v.texts("plan", plan, "steps");
             }},
            {"train", "Training.",
             [this](OptionVisitor& v) {
               v.integer("epochs", epochs, {1, 1000}, "how long");
               v.real("lr", lr, {0, 10}, "how fast | how far");
               v.real("rate", rate, {0, 1, true, true}, "open range");
               v.reals("milestones", milestones, {0, 1}, "when");
             }},
            {"data", "Data.", [this](OptionVisitor& v) {
               v.boolean("flip", flip, "mirror");
               v.text("root", root, "folder");
               v.choice_or_count("keep", keep, {"none", "cycles"}, "what stays");
             }}};
  }
};

}  // namespace sculpt::testing
