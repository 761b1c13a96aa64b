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
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 5e-4;
  bool decay_norm_and_bias = true;
  double clip_norm = 0;
  bool ham = false;
  double ham_alpha = 200;
  double ham_beta = 1e-3;
  int64_t sign_in = 0;
  double sign_in_beta = 1;
  double ema = 0;

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
    v.real("momentum", momentum, {0, 1, false, true}, "momentum of sgd");
    v.boolean("nesterov", nesterov, "Nesterov momentum of sgd");
    v.real("beta1", beta1, {0, 1, false, true}, "decay of AdamW's mean of gradients");
    v.real("beta2", beta2, {0, 1, false, true}, "decay of AdamW's mean of squared gradients");
    v.real("epsilon", epsilon, {1e-30, 1}, "added to the root of AdamW's mean of squares");
    v.real(
        "weight_decay", weight_decay, {0, 1},
        "weight decay: sgd adds it times the weight to the gradient; adamw subtracts lr times it "
        "times the weight from the weight");
    v.boolean("decay_norm_and_bias", decay_norm_and_bias,
              "false exempts biases and batch norm from weight decay");
    v.real("clip_norm", clip_norm, {0, 1e30},
           "largest L2 norm of all gradients together; 0 does not clip");
    v.boolean("ham", ham,
              "HAM: after each step, every weight of convolutions and linear layers is multiplied "
              "by exp(lr * (-ham_alpha * sign(weight) * gradient - ham_beta))");
    v.real("ham_alpha", ham_alpha, {0, 1e9}, "strength with which HAM follows the gradient");
    v.real("ham_beta", ham_beta, {0, 1e9}, "strength with which HAM shrinks weights");
    v.integer("sign_in", sign_in, {0, 1000000},
              "Sign-In: prunable weights are trained as products of two factors, which are "
              "balanced again after so many epochs; 0: off");
    v.real("sign_in_beta", sign_in_beta, {1e-6, 1e6},
           "difference of the squares of the two factors when they are balanced");
    v.real("ema", ema, {0, 1, false, true},
           "decay of an average of the weights, which is measured and becomes the weights at the "
           "end of each cycle; 0: off");
  }
};

}  // namespace sculpt
