#pragma once
// Settings of a run on several ranks: how they compute one batch together, and when a run that
// cannot go on is ended. Config section: dist.

#include <cstdint>
#include <string>

#include "engine/core/option_visitor.h"

namespace sculpt {

struct DistOptions {
  std::string reduction = "fast";
  int64_t logical_ranks = 8;
  std::string sync_batch_norm = "auto";
  std::string exchange = "kept";
  double bucket_mb = 0;
  double liveness_seconds = 20;
  double collective_seconds = 600;

  bool exact() const { return reduction == "exact"; }
  /// Returns true if batch norm uses the statistics of whole batches of `batch` images.
  bool syncs_batch_norm(int64_t batch, int ranks) const {
    constexpr int64_t kFewImages = 32;
    if (exact() || sync_batch_norm == "on") return true;
    return sync_batch_norm == "auto" && batch / ranks < kFewImages;
  }

  void visit(OptionVisitor& v) {
    v.choice("reduction", reduction, {"fast", "exact"},
             "fast: sums over ranks are added in the order of the library. exact: the result has "
             "the same bits on 1, 2, 4, ... ranks and any number of threads, because the batch is "
             "always computed in dist.logical_ranks parts whose sums are added in a fixed order; "
             "needs more memory and time, and runs on the CPU only");
    v.integer("logical_ranks", logical_ranks, {1, 1024},
              "the number of parts of a batch with dist.reduction = exact: a power of two, and at "
              "least the number of ranks");
    v.choice("sync_batch_norm", sync_batch_norm, {"auto", "on", "off"},
             "whether batch norm in training uses the statistics of the whole batch, and not those "
             "of each rank's own images; auto: on if a rank computes fewer than 32 images at a "
             "time. On one rank this has no effect, and dist.reduction = exact switches it on");
    v.choice("exchange", exchange, {"kept", "whole"},
             "the gradients of sparse layers that travel between ranks: those of kept weights, or "
             "those of all weights, which serves to compare");
    v.real("bucket_mb", bucket_mb, {0, 4096},
           "ranks add up gradients in buckets of at least so many megabytes while the backward "
           "pass goes on; 0: 0.065 on a CPU, 20 on a GPU. With dist.reduction = fast, another size "
           "may give other last bits");
    v.real("liveness_seconds", liveness_seconds, {0, 86400},
           "a run on several ranks ends if a rank gives no sign of life for this long (it was "
           "stopped, or the network to it is cut), or if a rank for which others wait uses no "
           "processor for this long; 0: never");
    v.real("collective_seconds", collective_seconds, {0, 86400},
           "a run on several ranks ends if others wait for a rank for this long while it computes "
           "something else; 0: never");
  }
};

}  // namespace sculpt
