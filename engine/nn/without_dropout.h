#pragma once

#include "engine/nn/network.h"

namespace sculpt {

/// While this object lives, the network's dropout keeps all elements in training mode.
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
