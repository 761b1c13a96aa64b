#pragma once

#include "engine/nn/network.h"

namespace sculpt {

/// While this object lives, the network's dropout keeps all elements in training mode.
class WithoutDropout {
 public:
  explicit WithoutDropout(Network& network)
      : settings_(network.graph().settings()), before_(settings_.dropout) {
    settings_.dropout = false;
  }
  ~WithoutDropout() { settings_.dropout = before_; }
  WithoutDropout(const WithoutDropout&) = delete;
  WithoutDropout& operator=(const WithoutDropout&) = delete;

 private:
  PassSettings& settings_;
  bool before_;
};

}  // namespace sculpt
