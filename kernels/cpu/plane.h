#pragma once
// Loops over the interior of activation planes (kernels/common/layout.h) that do not touch the
// halo.

#include "kernels/common/layout.h"
#include "kernels/common/parallel.h"
#include "kernels/cpu/vec.h"

namespace SCULPT_ISA_NAMESPACE {

/// The interior of some rows of a plane. It consists of `count` runs of `length` contiguous floats,
/// which start `stride` floats apart. `length` is a multiple of kLanes.
struct PlaneRuns {
  int64_t count = 0;
  int64_t length = 0;
  int64_t stride = 0;
  /// Distance from a float that is being read to the float to prefetch; 0: there is none.
  int64_t ahead = 0;
};

inline PlaneRuns row_runs(const ActivationShape& s, int64_t rows) {
  if (s.halo == 0) return {1, rows * s.width * kLanes, 0};
  return {rows, s.width * kLanes, s.row_stride() * kLanes};
}
inline PlaneRuns plane_runs(const ActivationShape& s) {
  return row_runs(s, s.height);
}
/// Returns the runs of a walk through the same rows of all channels. A few rows are too short for
/// the hardware to predict where the walk continues, so `ahead` points at the next channel.
inline PlaneRuns band_runs(const ActivationShape& s, int64_t rows) {
  PlaneRuns runs = row_runs(s, rows);
  runs.ahead = s.plane_stride() * kLanes;
  return runs;
}

inline int64_t blocks_of(int64_t batch) {
  return ceil_div(batch, kLanes);
}

/// Returns the number of images in block `block` of the batch: kLanes, except in a short last
/// block.
inline int64_t used_lanes(int64_t batch, int64_t block) {
  const int64_t left = batch - block * kLanes;
  return left < kLanes ? left : kLanes;
}

/// Calls body(offset) for every vector of a plane's interior; offset in floats from the plane's
/// start.
template <class Body>
inline void for_each_vec(const PlaneRuns& runs, const Body& body) {
  for (int64_t run = 0; run < runs.count; ++run) {
    const int64_t begin = run * runs.stride;
    for (int64_t i = begin; i < begin + runs.length; i += kVecWidth)
      body(i);
  }
}

/// Calls body(plane) for every (block, channel) of the batch, in parallel; plane = block * channels
/// + channel, and its data starts at plane * plane_stride() cells.
template <class Body>
inline void for_each_plane(const ActivationShape& s, int64_t batch, const Body& body) {
  parallel_for(blocks_of(batch) * s.channels, [&](int64_t begin, int64_t end, int) {
    for (int64_t plane = begin; plane < end; ++plane)
      body(plane);
  });
}

inline Vec zero_vec() {
  return Vec{};
}

/// max(v, 0). NaN stays NaN, so that a diverged network is noticed.
inline Vec relu(Vec v) {
  return zero_vec() > v ? zero_vec() : v;
}

/// *p (=, +=) v.
inline void write_grad(float* p, Vec v, GradWrite write) {
  store(p, write == GradWrite::accumulate ? load(p) + v : v);
}

}  // namespace SCULPT_ISA_NAMESPACE
