#include "data/transforms/augment.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "engine/core/random.h"
#include "engine/core/registry.h"

namespace sculpt::data {
namespace {

using kernels::CropFill;

struct NamedCropFill {
  std::string_view name;
  CropFill fill;
};
constexpr auto kCropFills = std::to_array<NamedCropFill>(
    {{"black", CropFill::black}, {"mean", CropFill::mean}, {"reflect", CropFill::reflect}});

/// Sets out[x] := in[x + dx], and `pad` where x + dx is outside the row.
void shift_row(uint8_t* out, const uint8_t* in, int64_t width, int64_t dx, uint8_t pad) {
  const int64_t first = std::clamp<int64_t>(-dx, 0, width);
  const int64_t last = std::clamp<int64_t>(width - dx, first, width);
  std::memset(out, pad, static_cast<size_t>(first));
  if (last > first) std::memcpy(out + first, in + first + dx, static_cast<size_t>(last - first));
  std::memset(out + last, pad, static_cast<size_t>(width - last));
}

/// Sets out[x] := in[x + dx], where the row is mirrored at its ends.
void shift_reflected_row(uint8_t* out, const uint8_t* in, int64_t width, int64_t dx) {
  for (int64_t x = 0; x < width; ++x)
    out[x] = in[kernels::reflected(static_cast<int32_t>(x + dx), static_cast<int32_t>(width))];
}

/// Reverses a row, swapping eight pixels from either end at a time.
void mirror_row(uint8_t* row, int64_t width) {
  uint8_t* left = row;
  uint8_t* right = row + width;
  for (; right - left >= 16; left += 8) {
    right -= 8;
    uint64_t a, b;
    std::memcpy(&a, left, 8);
    std::memcpy(&b, right, 8);
    a = __builtin_bswap64(a);
    b = __builtin_bswap64(b);
    std::memcpy(left, &b, 8);
    std::memcpy(right, &a, 8);
  }
  std::reverse(left, right);
}

void erase_square(uint8_t* out, const ImageShape& shape, int64_t side, const Augmentation& draw,
                  const uint8_t* fill) {
  const int64_t top = draw.cut_y - side / 2, left = draw.cut_x - side / 2;
  const int64_t y0 = std::max<int64_t>(top, 0), y1 = std::min(top + side, shape.height);
  const int64_t x0 = std::max<int64_t>(left, 0), x1 = std::min(left + side, shape.width);
  if (x0 >= x1) return;
  for (int64_t c = 0; c < shape.channels; ++c) {
    for (int64_t y = y0; y < y1; ++y) {
      std::memset(out + (c * shape.height + y) * shape.width + x0, fill[c],
                  static_cast<size_t>(x1 - x0));
    }
  }
}

}  // namespace

std::vector<std::string> crop_fill_names() {
  return names_of(kCropFills);
}

kernels::CropFill find_crop_fill(std::string_view name) {
  return find_row(kCropFills, name, "crop fill").fill;
}

kernels::AugmentRule augment_rule(const AugmentOptions& options, uint64_t seed) {
  kernels::AugmentRule rule;
  rule.crop_padding = static_cast<int32_t>(options.crop_padding);
  rule.crop_fill = options.crop_fill;
  rule.flip = options.flip ? 1 : 0;
  rule.cutout = static_cast<int32_t>(options.cutout);
  rule.key = RandomStream(seed, Purpose::augmentation).key();
  return rule;
}

Augmentation draw_augmentation(const AugmentOptions& options, const ImageShape& shape,
                               uint64_t seed, int64_t epoch, int64_t index) {
  return kernels::draw_augmentation(augment_rule(options, seed), static_cast<int32_t>(shape.height),
                                    static_cast<int32_t>(shape.width), static_cast<uint64_t>(epoch),
                                    static_cast<uint64_t>(index));
}

void augment(uint8_t* out, const uint8_t* in, const ImageShape& shape,
             const AugmentOptions& options, const Augmentation& draw, const uint8_t* fill) {
  const bool reflects = options.crop_fill == CropFill::reflect;
  for (int64_t c = 0; c < shape.channels; ++c) {
    const uint8_t pad = options.crop_fill == CropFill::mean ? fill[c] : uint8_t{0};
    for (int64_t y = 0; y < shape.height; ++y) {
      uint8_t* row = out + (c * shape.height + y) * shape.width;
      int64_t from = y + draw.dy;
      if (reflects)
        from = kernels::reflected(static_cast<int32_t>(from), static_cast<int32_t>(shape.height));
      if (from < 0 || from >= shape.height) {
        std::memset(row, pad, static_cast<size_t>(shape.width));
        continue;
      }
      const uint8_t* source = in + (c * shape.height + from) * shape.width;
      if (reflects)
        shift_reflected_row(row, source, shape.width, draw.dx);
      else
        shift_row(row, source, shape.width, draw.dx, pad);
      if (draw.mirror) mirror_row(row, shape.width);
    }
  }
  if (options.cutout > 0) erase_square(out, shape, options.cutout, draw, fill);
}

}  // namespace sculpt::data
