#pragma once
// Config section: train. It defines one cycle, and contains the settings of the optimizer and the
// schedule.

#include <cstdint>
#include <string>

#include "engine/core/option_visitor.h"
#include "engine/optim/optim_options.h"

namespace sculpt {

struct TrainOptions {
  int64_t epochs = 10;
  int64_t batch = 128;
  bool drop_last = false;
  std::string precision = "auto";
  std::string conv = "native";
  bool step_graph = true;
  std::string sparse = "auto";
  bool dense_timing = true;
  std::string winograd = "auto";
  OptimOptions optim;
  double label_smoothing = 0;
  int64_t eval_every = 1;
  int64_t checkpoint_every = 1;
  int64_t checkpoint_steps = 0;

  void visit(OptionVisitor& v) {
    v.integer("epochs", epochs, {1, 1000000}, "epochs of one cycle");
    v.integer("batch", batch, {1, 65536}, "images per step; an epoch's last step may have fewer");
    v.boolean("drop_last", drop_last,
              "leave out an epoch's last step where it has fewer images than train.batch; which "
              "images these are changes from epoch to epoch");
    v.choice(
        "precision", precision, {"auto", "fp32", "tf32", "bf16"},
        "arithmetic of convolutions and activations; auto: bf16 on a GPU, fp32 on a CPU, which "
        "knows no other. Weights, statistics and updates are fp32 always");
    v.choice("conv", conv, {"native", "cudnn", "auto"},
             "whose convolutions and linear layers a GPU runs: ours, those of cuDNN and cuBLAS, or "
             "the faster for each shape and pass, timed once, remembered, and recorded in the run "
             "folder");
    v.choice("sparse", sparse, {"auto", "tuned", "on", "off"},
             "kernels that skip masked weights, on a CPU. auto: each layer and pass by a rule, so "
             "that the same config gives the same bits; tuned: the faster ones, timed when a "
             "layer's mask changes and recorded in the run folder; on: in every layer with a "
             "masked weight; off: nowhere");
    v.boolean("dense_timing", dense_timing,
              "where layers skip masked weights, also time a few steps on dense kernels, on a "
              "copy of the network, and say in summary.json what the run would have taken");
    v.choice("winograd", winograd, {"auto", "off"},
             "dense 3x3 convolutions by Winograd's algorithm, on a CPU: where that is faster, or "
             "nowhere; its rounding errors are larger (docs/results/winograd.md)");
    v.boolean("step_graph", step_graph,
              "launch a step on a GPU as one CUDA graph, not kernel by kernel; the results are the "
              "same, bit for bit");
    optim.visit(v);
    v.real("label_smoothing", label_smoothing, {0, 1, false, true},
           "probability taken from the label and spread over all classes, in training");
    v.integer("eval_every", eval_every, {1, 1000000},
              "epochs between evaluations; the last epoch of a cycle is always evaluated");
    v.integer("checkpoint_every", checkpoint_every, {0, 1000000},
              "epochs between resumable checkpoints; 0: only after prunes and cycles");
    v.integer("checkpoint_steps", checkpoint_steps, {0, 1000000000},
              "steps between resumable checkpoints inside an epoch; 0: none");
  }
};

}  // namespace sculpt
