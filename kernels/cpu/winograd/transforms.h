#pragma once
// The one-dimensional transforms of Winograd's F(4, 3) and, for the gradient of the weight, of F(3,
// 4) (Toom-Cook at the points 0, a, -a, b, -b and infinity). The two-dimensional transforms apply
// them to the columns and then to the rows. Number is a float or a register of floats.
//
// a = sqrt(1/2), b = sqrt(2). Errors are half of those with the points 1 and 2, because the powers
// of these points stay nearer to 1.

#include <cmath>
#include <cstdint>

#include "kernels/cpu/vec.h"

namespace SCULPT_ISA_NAMESPACE {

inline constexpr int kTile = 4;    ///< output cells of a tile along an axis
inline constexpr int kTileIn = 6;  ///< input cells, and points, along an axis
inline constexpr int kPoints = kTileIn * kTileIn;

namespace points {
inline constexpr float a = 0.70710678118654752440f, b = 1.41421356237309504880f;
inline constexpr float aa = 0.5f, bb = 2.0f;
inline constexpr float sum = aa + bb, product = aa * bb;
// 1 / product of (p - q) over the other points q.
inline constexpr float scale_0 = 1 / (aa * bb);
inline constexpr float scale_a = 1 / (2 * aa * (aa - bb)), scale_b = 1 / (2 * bb * (bb - aa));
}  // namespace points

/// Transforms six input cells to six points.
template <class Number>
[[gnu::always_inline]] inline void transform_input(const Number (&x)[kTileIn],
                                                   Number (&v)[kTileIn]) {
  using namespace points;
  const Number even_a = x[4] - bb * x[2], odd_a = a * (x[3] - bb * x[1]);
  const Number even_b = x[4] - aa * x[2], odd_b = b * (x[3] - aa * x[1]);
  v[0] = x[4] - sum * x[2] + product * x[0];
  v[1] = even_a + odd_a;
  v[2] = even_a - odd_a;
  v[3] = even_b + odd_b;
  v[4] = even_b - odd_b;
  v[5] = x[5] - sum * x[3] + product * x[1];
}

/// Transforms six points to four output cells.
template <class Number>
[[gnu::always_inline]] inline void transform_output(const Number (&m)[kTileIn],
                                                    Number (&y)[kTile]) {
  using namespace points;
  const Number even_a = m[1] + m[2], odd_a = m[1] - m[2];
  const Number even_b = m[3] + m[4], odd_b = m[3] - m[4];
  y[0] = m[0] + even_a + even_b;
  y[1] = a * odd_a + b * odd_b;
  y[2] = aa * even_a + bb * even_b;
  y[3] = (aa * a) * odd_a + (bb * b) * odd_b + m[5];
}

/// Transforms three weights to six points.
template <class Number>
[[gnu::always_inline]] inline void transform_weight(const Number (&w)[3], Number (&u)[kTileIn]) {
  using namespace points;
  const Number even_a = scale_a * (w[0] + aa * w[2]), odd_a = (scale_a * a) * w[1];
  const Number even_b = scale_b * (w[0] + bb * w[2]), odd_b = (scale_b * b) * w[1];
  u[0] = scale_0 * w[0];
  u[1] = even_a + odd_a;
  u[2] = even_a - odd_a;
  u[3] = even_b + odd_b;
  u[4] = even_b - odd_b;
  u[5] = w[2];
}

/// F(3, 4): transforms four cells of the output's gradient to six points.
template <class Number>
[[gnu::always_inline]] inline void transform_output_grad(const Number (&dy)[kTile],
                                                         Number (&v)[kTileIn]) {
  using namespace points;
  const Number even_a = scale_a * (dy[0] + aa * dy[2]);
  const Number odd_a = (scale_a * a) * (dy[1] + aa * dy[3]);
  const Number even_b = scale_b * (dy[0] + bb * dy[2]);
  const Number odd_b = (scale_b * b) * (dy[1] + bb * dy[3]);
  v[0] = scale_0 * dy[0];
  v[1] = even_a + odd_a;
  v[2] = even_a - odd_a;
  v[3] = even_b + odd_b;
  v[4] = even_b - odd_b;
  v[5] = dy[3];
}

/// F(3, 4): transforms six points to the gradients of three weights.
template <class Number>
[[gnu::always_inline]] inline void transform_weight_grad(const Number (&m)[kTileIn],
                                                         Number (&dw)[3]) {
  using namespace points;
  const Number even_a = m[1] + m[2], odd_a = m[1] - m[2];
  const Number even_b = m[3] + m[4], odd_b = m[3] - m[4];
  dw[0] = m[0] + even_a + even_b;
  dw[1] = a * odd_a + b * odd_b;
  dw[2] = aa * even_a + bb * even_b + m[5];
}

}  // namespace SCULPT_ISA_NAMESPACE
