#pragma once
// The settings of the config section `execution` say what a run computes on, and with which
// kernels. They decide the speed of a run and the last bits of its results.

#include <cstdint>
#include <string>

#include "engine/core/option_visitor.h"

namespace sculpt {

struct ExecutionOptions {
  std::string device = "auto";
  int64_t threads = 0;  ///< 0: one per processor
  std::string precision = "auto";
  std::string conv = "native";
  std::string sparse = "auto";
  std::string winograd = "auto";
  bool step_graph = true;
  bool dense_timing = true;

  void visit(OptionVisitor& v) {
    v.text("device", device, "auto (a usable GPU, else the CPU), cpu, cuda or cuda:N");
    v.integer("threads", threads, {0, 4096}, "threads on the CPU; 0: one per processor");
    v.choice(
        "precision", precision, {"auto", "fp32", "tf32", "bf16"},
        "arithmetic of convolutions and activations. auto: bf16 on a GPU, and fp32 on a CPU, which "
        "has no other. Weights, statistics and updates are always fp32");
    v.choice(
        "conv", conv, {"native", "cudnn", "auto"},
        "whose convolutions and linear layers a GPU runs. native: those of Sculpt; cudnn: those "
        "of cuDNN and cuBLAS; auto: the faster ones for each shape and pass, timed once, "
        "remembered, and recorded in the run folder");
    v.choice("sparse", sparse, {"auto", "tuned", "on", "off"},
             "kernels that skip masked weights, on a CPU. auto: each layer and pass by a rule, so "
             "that the same config gives the same bits; tuned: the faster ones, timed when a "
             "layer's mask changes and recorded in the run folder; on: in every layer with a "
             "masked weight; off: nowhere");
    v.choice("winograd", winograd, {"auto", "off"},
             "dense 3x3 convolutions by Winograd's algorithm, on a CPU: where that is faster, or "
             "nowhere; its rounding errors are larger (docs/results/winograd.md)");
    v.boolean("step_graph", step_graph,
              "launch a step on a GPU as one CUDA graph, not kernel by kernel; the results are the "
              "same, bit for bit");
    v.boolean("dense_timing", dense_timing,
              "where layers skip masked weights, also time a few steps on dense kernels, on a "
              "copy of the network, and say in summary.json what the run would have taken");
  }
};

}  // namespace sculpt
