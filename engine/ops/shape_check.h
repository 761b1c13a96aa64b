#pragma once
// These functions check shapes, with the same error messages for every op.

#include <string>

#include "engine/autograd/graph.h"
#include "engine/core/error.h"

namespace sculpt::ops {

inline std::string to_string(const kernels::ActivationShape& s) {
  return fmt::format("[{}, {}, {}]", s.channels, s.height, s.width);
}

inline void require_same_shape(const char* op, const std::string& name,
                               const kernels::ActivationShape& a,
                               const kernels::ActivationShape& b) {
  if (a.channels != b.channels || a.height != b.height || a.width != b.width)
    fail("{} '{}': shapes {} and {} differ", op, name, to_string(a), to_string(b));
}

inline void require_feature_vector(const char* op, const std::string& name,
                                   const kernels::ActivationShape& s) {
  if (s.height != 1 || s.width != 1)
    fail("{} '{}' needs [C, 1, 1], got {}; flatten or pool first", op, name, to_string(s));
}

}  // namespace sculpt::ops
