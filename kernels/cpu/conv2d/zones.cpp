#include "kernels/cpu/conv2d/zones.h"

#include <algorithm>

namespace SCULPT_ISA_NAMESPACE {
namespace {

// Along axes longer than this, the border is a small part, so the zeros of the halo are multiplied
// instead of skipped.
constexpr int64_t kLongRow = 32;

/// The dependence of targets on sources along one axis, in cells. Target i, which is stored in cell
/// y + i * y_step, uses source x + i * x_step + t at tap t, whose weight is w + t * w_step.
struct Line {
  int64_t count, y, y_step;
  int64_t x, x_step, x_size;
  int64_t tap_count, w, w_step;
};

/// Cuts a line into zones and writes them to `zones`. Returns the end of the written zones.
Zone* add_zones(const Line& line, int64_t y_cell, int64_t x_cell, bool skip_padding, Zone* zones) {
  struct Taps {
    int64_t begin, end;
    bool operator==(const Taps&) const = default;
  };
  auto taps_of = [&](int64_t i) -> Taps {
    if (!skip_padding) return {0, line.tap_count};
    const int64_t x = line.x + i * line.x_step;
    const int64_t begin = std::max<int64_t>(0, -x);
    const int64_t end = std::min(line.tap_count, line.x_size - x);
    return begin < end ? Taps{begin, end} : Taps{0, 0};
  };
  for (int64_t i = 0; i < line.count;) {
    const Taps taps = taps_of(i);
    int64_t next = i + 1;
    while (next < line.count && taps_of(next) == taps)
      ++next;
    *zones++ = {.count = next - i,
                .y = (line.y + i * line.y_step) * y_cell,
                .y_step = line.y_step * y_cell,
                .x = (line.x + i * line.x_step + taps.begin) * x_cell,
                .x_step = line.x_step * x_cell,
                .tap_count = taps.end - taps.begin,
                .tap_step = x_cell,
                .w = line.w + taps.begin * line.w_step,
                .w_step = line.w_step};
    i = next;
  }
  return zones;
}

/// One axis of an input gradient. Offsets are in floats.
struct InputGradAxis {
  int64_t in, out;           ///< pixels of dx and of dy
  int64_t kernel;            ///< taps
  int64_t weight;            ///< distance between the weights of neighbouring taps
  int64_t dx_cell, dy_cell;  ///< distances between neighbouring cells
  bool skip_padding;
};

/// Adds the zones of one axis of an input gradient. Input pixel i meets output pixel (i + padding -
/// r) / stride at tap r if this is a whole number. The pixels of one residue modulo the stride
/// therefore share their taps.
Zone* add_input_grad_zones(const InputGradAxis& axis, int64_t stride, int64_t padding,
                           Zone* zones) {
  for (int64_t first = 0; first < std::min(stride, axis.in); ++first) {
    const int64_t lowest = (first + padding) % stride;
    const int64_t taps = lowest < axis.kernel ? (axis.kernel - 1 - lowest) / stride + 1 : 0;
    // Taps are listed from the highest down, so that dy is read in ascending order.
    const int64_t highest = lowest + (taps - 1) * stride;
    const Line line = {.count = ceil_div(axis.in - first, stride),
                       .y = first,
                       .y_step = stride,
                       .x = (first + padding - highest) / stride,
                       .x_step = 1,
                       .x_size = axis.out,
                       .tap_count = taps,
                       .w = highest * axis.weight,
                       .w_step = -stride * axis.weight};
    zones = add_zones(line, axis.dx_cell, axis.dy_cell, axis.skip_padding, zones);
  }
  return zones;
}

}  // namespace

Strides activation_strides(const ActivationShape& shape, int64_t groups) {
  const int64_t plane = shape.plane_stride() * kLanes;
  return {.block = shape.block_stride() * kLanes,
          .group = shape.channels / groups * plane,
          .channel = plane};
}

int64_t max_zones(const Conv2dShape& shape) {
  // Each tap begins and ends at most one zone per residue, and one zone lies between.
  return 2 * (shape.kernel_h + shape.stride) + 2 * (shape.kernel_w + shape.stride);
}

void forward_zones(const Conv2dShape& shape, Zone* zones, TapConv& conv) {
  Line line = {.count = shape.out.height,
               .y = 0,
               .y_step = 1,
               .x = -shape.padding,
               .x_step = shape.stride,
               .x_size = shape.in.height,
               .tap_count = shape.kernel_h,
               .w = 0,
               .w_step = shape.kernel_w};
  Zone* columns =
      add_zones(line, shape.out.row_stride() * kLanes, shape.in.row_stride() * kLanes, true, zones);
  line.count = shape.out.width;
  line.x_size = shape.in.width;
  line.tap_count = shape.kernel_w;
  line.w_step = 1;
  Zone* end = add_zones(line, kLanes, kLanes, shape.out.width < kLongRow, columns);
  conv.rows = {zones, columns - zones};
  conv.columns = {columns, end - columns};
}

void input_grad_zones(const Conv2dShape& shape, Zone* zones, TapConv& conv) {
  const InputGradAxis vertical = {.in = shape.in.height,
                                  .out = shape.out.height,
                                  .kernel = shape.kernel_h,
                                  .weight = shape.kernel_w,
                                  .dx_cell = shape.in.row_stride() * kLanes,
                                  .dy_cell = shape.out.row_stride() * kLanes,
                                  .skip_padding = true};
  const InputGradAxis horizontal = {.in = shape.in.width,
                                    .out = shape.out.width,
                                    .kernel = shape.kernel_w,
                                    .weight = 1,
                                    .dx_cell = kLanes,
                                    .dy_cell = kLanes,
                                    .skip_padding = shape.in.width < kLongRow};
  Zone* columns = add_input_grad_zones(vertical, shape.stride, shape.padding, zones);
  Zone* end = add_input_grad_zones(horizontal, shape.stride, shape.padding, columns);
  conv.rows = {zones, columns - zones};
  conv.columns = {columns, end - columns};
}

}  // namespace SCULPT_ISA_NAMESPACE
