#pragma once
// Settings of a run on several ranks. They decide when a run that cannot go on is ended. Config
// section: dist.

#include "engine/core/option_visitor.h"

namespace sculpt {

struct DistOptions {
  double liveness_seconds = 20;
  double collective_seconds = 600;

  void visit(OptionVisitor& v) {
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
