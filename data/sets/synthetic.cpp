#include "data/sets/synthetic.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "engine/core/phase.h"
#include "engine/core/random.h"
#include "kernels/common/parallel.h"

// The code below uses only +, -, *, / and sqrt, which are exactly rounded everywhere, and this file
// is compiled without fused multiply-add. The pixels therefore do not depend on the machine's math
// library.

namespace sculpt::data {
namespace {

constexpr int kSize = 32;
constexpr int kPixels = kSize * kSize;
constexpr int kClasses = 10;
constexpr int kShapes = 5;
constexpr int64_t kImagesAtOnce = 256;  // some milliseconds of work between updates of the phase

using Colour = std::array<float, 3>;  // 0..255

/// The random draws of one image, in order.
class Draws {
 public:
  Draws(const RandomStream& stream, uint64_t first_block) : stream_(stream), block_(first_block) {}
  uint32_t word() {
    if (used_ == 4) {
      words_ = stream_.words(block_++);
      used_ = 0;
    }
    return words_[used_++];
  }
  float uniform(float low, float high) { return low + (high - low) * philox_uniform(word()); }
  int below(int n) { return static_cast<int>((uint64_t{word()} * static_cast<uint64_t>(n)) >> 32); }
  Colour colour(float low, float high) {
    const float r = uniform(low, high), g = uniform(low, high), b = uniform(low, high);
    return {r, g, b};
  }

 private:
  const RandomStream& stream_;
  uint64_t block_;
  std::array<uint32_t, 4> words_{};
  size_t used_ = 4;
};

struct Direction {
  float c, s;
};

/// Draws a uniform direction by rejection, which needs no trigonometric functions.
Direction draw_direction(Draws& draws) {
  for (;;) {
    const float x = draws.uniform(-1.f, 1.f), y = draws.uniform(-1.f, 1.f);
    const float square = x * x + y * y;
    if (square > 0.01f && square <= 1.f) {
      const float length = std::sqrt(square);
      return {x / length, y / length};
    }
  }
}

/// Returns a triangle wave of period 1 in [-1, 1], sharpened towards a square wave.
float wave(float x) {
  const float phase = x - std::floor(x);
  const float triangle = phase < 0.5f ? 4.f * phase - 1.f : 3.f - 4.f * phase;
  return std::clamp(2.f * triangle, -1.f, 1.f);
}

/// A texture of stripes or checks. The period is in pixels.
struct Texture {
  bool checks;
  float period;
  Direction direction;
  float phase_x, phase_y;

  float operator()(float x, float y) const {
    const float a = wave((x * direction.c + y * direction.s) / period + phase_x);
    if (!checks) return a;
    return a * wave((y * direction.c - x * direction.s) / period + phase_y);
  }
};

Texture draw_texture(Draws& draws, bool checks) {
  // Checks have two directions, so their period is longer for the same edge length per area.
  const float period = draws.uniform(3.6f, 5.2f) * (checks ? 1.35f : 1.f);
  const Direction direction = draw_direction(draws);
  const float phase_x = draws.uniform(0.f, 1.f), phase_y = draws.uniform(0.f, 1.f);
  return {checks, period, direction, phase_x, phase_y};
}

/// Returns the approximate signed distance (negative inside) to a shape of about unit radius.
float shape_distance(int shape, float x, float y) {
  const float ax = std::fabs(x), ay = std::fabs(y);
  switch (shape) {
    case 0:  // disc
      return std::sqrt(x * x + y * y) - 0.92f;
    case 1:  // square
      return std::max(ax, ay) - 0.80f;
    case 2:  // triangle
      return std::max(0.866f * ax + 0.5f * y, -y) - 0.58f;
    case 3:  // ring
      return std::fabs(std::sqrt(x * x + y * y) - 0.72f) - 0.30f;
    default:  // cross
      return std::min(std::max(ax - 0.36f, ay - 1.02f), std::max(ay - 0.36f, ax - 1.02f));
  }
}

float blend(float under, float over, float alpha) {
  return under + alpha * (over - under);
}

/// A planar RGB image in floats.
struct Canvas {
  std::array<float, 3 * kPixels> value;
  void mix(int y, int x, const Colour& colour, float alpha) {
    for (size_t c = 0; c < 3; ++c) {
      float& v = value[c * kPixels + static_cast<size_t>(y * kSize + x)];
      v = blend(v, colour[c], alpha);
    }
  }
};

/// Draws a background: smooth colours between random colours on a 4x4 grid, with a faint texture of
/// a random kind.
Colour draw_background(Draws& draws, Canvas& canvas) {
  constexpr int kGrid = 4;
  const Colour base = draws.colour(50.f, 205.f);
  std::array<std::array<Colour, kGrid>, kGrid> grid;
  for (auto& row : grid) {
    for (auto& knot : row) {
      knot = base;
      for (float& v : knot)
        v += draws.uniform(-55.f, 55.f);
    }
  }
  const Texture texture = draw_texture(draws, draws.below(2) == 1);
  const float strength = draws.uniform(0.f, 28.f);
  const float step = static_cast<float>(kGrid - 1) / static_cast<float>(kSize - 1);
  for (int y = 0; y < kSize; ++y) {
    const float gy = static_cast<float>(y) * step;
    const size_t y0 = static_cast<size_t>(std::min(static_cast<int>(gy), kGrid - 2));
    const float fy = gy - static_cast<float>(y0);
    for (int x = 0; x < kSize; ++x) {
      const float gx = static_cast<float>(x) * step;
      const size_t x0 = static_cast<size_t>(std::min(static_cast<int>(gx), kGrid - 2));
      const float fx = gx - static_cast<float>(x0);
      const float t = strength * texture(static_cast<float>(x), static_cast<float>(y));
      for (size_t c = 0; c < 3; ++c) {
        const float top = blend(grid[y0][x0][c], grid[y0][x0 + 1][c], fx);
        const float bottom = blend(grid[y0 + 1][x0][c], grid[y0 + 1][x0 + 1][c], fx);
        canvas.value[c * kPixels + static_cast<size_t>(y * kSize + x)] = blend(top, bottom, fy) + t;
      }
    }
  }
  return base;
}

/// Draws the object that determines the class: a textured shape in two colours that differ from the
/// background's.
void draw_object(Draws& draws, Canvas& canvas, int label, const Colour& background) {
  const int shape = label % kShapes;
  const bool checks = label / kShapes == 1;
  Colour light, dark;
  float contrast = 0.f;
  do {  // at least 40 grey levels a channel from the background, on average
    light = draws.colour(30.f, 225.f);
    contrast = 0.f;
    for (size_t c = 0; c < 3; ++c)
      contrast += std::fabs(light[c] - background[c]);
  } while (contrast < 120.f);
  const float depth = draws.uniform(38.f, 75.f);
  for (size_t c = 0; c < 3; ++c) {
    dark[c] = light[c] - depth;
    light[c] += depth;
  }
  const float radius = draws.uniform(7.f, 12.f);
  const float margin = 0.85f * radius;
  const float centre_x = draws.uniform(margin, kSize - margin);
  const float centre_y = draws.uniform(margin, kSize - margin);
  const Direction turn = draw_direction(draws);
  const Texture texture = draw_texture(draws, checks);
  for (int y = 0; y < kSize; ++y) {
    for (int x = 0; x < kSize; ++x) {
      const float px = static_cast<float>(x) + 0.5f - centre_x;
      const float py = static_cast<float>(y) + 0.5f - centre_y;
      const float u = (px * turn.c + py * turn.s) / radius;
      const float v = (py * turn.c - px * turn.s) / radius;
      if (u * u + v * v > 1.8f) continue;
      const float alpha = std::clamp(0.5f - radius * shape_distance(shape, u, v), 0.f, 1.f);
      if (alpha == 0.f) continue;
      const float t = 0.5f + 0.5f * texture(px, py);
      Colour colour;
      for (size_t c = 0; c < 3; ++c)
        colour[c] = blend(dark[c], light[c], t);
      canvas.mix(y, x, colour, alpha);
    }
  }
}

/// Draws a bar or a blob of one colour at a random place: clutter if drawn before the object,
/// occlusion if drawn after it.
void draw_clutter(Draws& draws, Canvas& canvas) {
  const Colour colour = draws.colour(0.f, 255.f);
  const bool bar = draws.below(2) == 1;
  const float centre_x = draws.uniform(0.f, kSize), centre_y = draws.uniform(0.f, kSize);
  const Direction turn = draw_direction(draws);
  const float half_width = bar ? draws.uniform(0.6f, 1.3f) : draws.uniform(1.2f, 3.0f);
  const float half_length = bar ? draws.uniform(5.f, 14.f) : half_width;
  for (int y = 0; y < kSize; ++y) {
    for (int x = 0; x < kSize; ++x) {
      const float px = static_cast<float>(x) + 0.5f - centre_x;
      const float py = static_cast<float>(y) + 0.5f - centre_y;
      const float along = std::fabs(px * turn.c + py * turn.s) - half_length;
      const float across = std::fabs(py * turn.c - px * turn.s) - half_width;
      const float alpha = std::clamp(0.5f - std::max(along, across), 0.f, 1.f);
      if (alpha > 0.f) canvas.mix(y, x, colour, alpha);
    }
  }
}

/// Adds noise of triangular distribution, one byte of randomness per summand, and rounds.
void write_pixels(Draws& draws, const Canvas& canvas, float noise, uint8_t* out) {
  for (size_t i = 0; i < canvas.value.size(); i += 2) {
    const uint32_t word = draws.word();
    for (size_t k = 0; k < 2; ++k) {
      const uint32_t bits = word >> (16 * k);
      const int sum = static_cast<int>(bits & 255u) + static_cast<int>((bits >> 8) & 255u) - 255;
      const float value = canvas.value[i + k] + noise * static_cast<float>(sum) / 255.f;
      out[i + k] = static_cast<uint8_t>(std::clamp(value, 0.f, 255.f) + 0.5f);
    }
  }
}

/// Returns the class of image `index`: its position in a seeded order of the ten classes, with a
/// new order for every ten images.
int32_t draw_label(const RandomStream& labels, int64_t index) {
  std::array<int32_t, kClasses> order{};
  for (size_t i = 0; i < order.size(); ++i)
    order[i] = static_cast<int32_t>(i);
  Draws draws(labels, static_cast<uint64_t>(index / kClasses) * 4);
  for (int i = kClasses - 1; i > 0; --i) {
    std::swap(order[static_cast<size_t>(i)], order[static_cast<size_t>(draws.below(i + 1))]);
  }
  return order[static_cast<size_t>(index % kClasses)];
}

std::vector<int32_t> draw_labels(uint64_t split, int64_t size, uint64_t seed) {
  const RandomStream stream(seed, Purpose::synthetic_data, split);
  std::vector<int32_t> labels(static_cast<size_t>(size));
  for (int64_t i = 0; i < size; ++i)
    labels[static_cast<size_t>(i)] = draw_label(stream, i);
  return labels;
}

void draw_image(const RandomStream& stream, int label, uint8_t* out) {
  Draws draws(stream, 0);
  Canvas canvas;
  const Colour background = draw_background(draws, canvas);
  for (int n = draws.below(3) + 1; n > 0; --n)
    draw_clutter(draws, canvas);
  draw_object(draws, canvas, label, background);
  for (int n = draws.below(2) + 1; n > 0; --n)
    draw_clutter(draws, canvas);
  const float noise = draws.uniform(15.f, 45.f);
  write_pixels(draws, canvas, noise, out);
}

Dataset make_split(uint64_t split, int64_t size, uint64_t seed) {
  Dataset set;
  set.name = "synthetic";
  set.shape = {3, kSize, kSize};
  set.classes = kClasses;
  for (const char* texture : {"striped", "checked"}) {
    for (const char* shape : {"disc", "square", "triangle", "ring", "cross"}) {
      set.class_names.push_back(std::string(texture) + " " + shape);
    }
  }
  set.normalization = {{0.5f, 0.5f, 0.5f}, {0.224f, 0.224f, 0.224f}};
  set.labels = draw_labels(split, size, seed);
  // Memory is touched as it is filled. Clearing gigabytes first would take seconds during which no
  // progress is reported.
  set.images.reserve(static_cast<size_t>(size * set.shape.count()));
  // Each image has its own random numbers, so threads can share the work.
  const auto make = [&](int64_t i) {
    const int32_t label = set.labels[static_cast<size_t>(i)];
    const uint64_t sub = (static_cast<uint64_t>(i) + 1) * 2 + split;
    draw_image(RandomStream(seed, Purpose::synthetic_data, sub), label,
               set.images.data() + static_cast<size_t>(i * set.shape.count()));
  };
  Phase phase(split == 0 ? "making training images" : "making test images", size);
  for (int64_t first = 0; first < size; first += kImagesAtOnce) {
    const int64_t count = std::min(kImagesAtOnce, size - first);
    set.images.resize(static_cast<size_t>((first + count) * set.shape.count()));
    parallel_for(count, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i)
        make(first + i);
    });
    phase.advance(count);
  }
  return set;
}

}  // namespace

std::vector<int32_t> synthetic_train_labels(int64_t train_size, uint64_t seed) {
  return draw_labels(0, train_size, seed);
}

TrainTest load_synthetic(int64_t train_size, int64_t test_size, uint64_t seed) {
  return {make_split(0, train_size, seed), make_split(1, test_size, seed)};
}

}  // namespace sculpt::data
