#pragma once
// This file has the settings of the optimizer and of its learning-rate schedule within one cycle.

#include <cstdint>
#include <string>
#include <vector>

#include "engine/core/option_visitor.h"

namespace sculpt {

/// Both functions return the names in a table: the one in optimizer.cpp, and the one in
/// lr_schedule.cpp.
std::vector<std::string> optimizer_names();
std::vector<std::string> lr_schedule_names();

/// The config section `optim`: the optimizer and its learning-rate schedule.
struct OptimOptions {
  std::string rule = "sgd";
  double lr = 0.1;
  std::string schedule = "step_warmup";
  double warmup = 10.0 / 150;
  double warmup_start = 0.1;
  std::vector<double> milestones = {60.0 / 150, 120.0 / 150};
  double milestone_factor = 0.1;
  double cooldown = 0.2;
  double momentum = 0.9;
  bool nesterov = false;
  double weight_decay = 5e-4;
  bool decay_norm_and_bias = true;
  double clip_norm = 0;

  void visit(OptionVisitor& v) {
    v.choice("rule", rule, optimizer_names(), "how weights follow from gradients");
    v.real("lr", lr, {0, 1e3}, "peak learning rate of a cycle");
    v.choice("schedule", schedule, lr_schedule_names(), "learning-rate schedule within a cycle");
    v.real("warmup", warmup, {0, 1},
           "fraction of a cycle spent warming up (step_warmup, cosine, trapezoidal)");
    v.real("warmup_start", warmup_start, {0, 1}, "first learning rate of the warm-up, times lr");
    v.reals("milestones", milestones, {0, 1},
            "fractions of a cycle at which step_warmup multiplies the learning rate by "
            "milestone_factor");
    v.real("milestone_factor", milestone_factor, {0, 1}, "factor at each milestone of step_warmup");
    v.real("cooldown", cooldown, {0, 1}, "fraction of a cycle in which trapezoidal falls to 0");
    v.real("momentum", momentum, {0, 1, false, true}, "momentum of SGD");
    v.boolean("nesterov", nesterov, "Nesterov momentum");
    v.real("weight_decay", weight_decay, {0, 1}, "L2 coefficient added to the gradient");
    v.boolean("decay_norm_and_bias", decay_norm_and_bias,
              "false exempts biases and batch norm from weight decay");
    v.real("clip_norm", clip_norm, {0, 1e30},
           "largest L2 norm of all gradients together; 0 does not clip");
  }
};

}  // namespace sculpt
