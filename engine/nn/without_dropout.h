#pragma once

#include "engine/nn/network.h"

namespace sculpt {

/// Lets a network's dropout pass everything in training mode, while this lives.
class WithoutDropout {
 public:
  explicit WithoutDropout(Network& network)
      : replay_(network.graph().replay()), before_(replay_.dropout) {
    replay_.dropout = false;
  }
  ~WithoutDropout() { replay_.dropout = before_; }
  WithoutDropout(const WithoutDropout&) = delete;
  WithoutDropout& operator=(const WithoutDropout&) = delete;

 private:
  Replay& replay_;
  bool before_;
};

}  // namespace sculpt
