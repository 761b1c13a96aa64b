#include "engine/analyze/vectors.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <vector>

#include "kernels/common/parallel.h"

namespace sculpt {
namespace {

constexpr int64_t kPiece = 8192;

/// Calls body(piece, first, last) for each piece of a vector of `size` elements, on all threads.
template <class Body>
void for_each_piece_of(size_t size, const Body& body) {
  const auto count = static_cast<int64_t>(size);
  const int64_t pieces = (count + kPiece - 1) / kPiece;
  parallel_for(pieces, [&](int64_t begin, int64_t end, int) {
    for (int64_t piece = begin; piece < end; ++piece)
      body(static_cast<size_t>(piece), static_cast<size_t>(piece * kPiece),
           static_cast<size_t>(std::min((piece + 1) * kPiece, count)));
  });
}

}  // namespace

double dot(std::span<const double> a, std::span<const double> b) {
  std::vector<double> sums(a.size() / static_cast<size_t>(kPiece) + 1);
  for_each_piece_of(a.size(), [&](size_t piece, size_t first, size_t last) {
    double sum = 0;
    for (size_t i = first; i < last; ++i)
      sum += a[i] * b[i];
    sums[piece] = sum;
  });
  return std::accumulate(sums.begin(), sums.end(), 0.0);
}

double norm(std::span<const double> values) {
  return std::sqrt(dot(values, values));
}

void add_scaled(std::span<double> sum, double factor, std::span<const double> values) {
  for_each_piece_of(sum.size(), [&](size_t, size_t first, size_t last) {
    for (size_t i = first; i < last; ++i)
      sum[i] += factor * values[i];
  });
}

void scale(std::span<double> values, double factor) {
  for_each_piece_of(values.size(), [&](size_t, size_t first, size_t last) {
    for (size_t i = first; i < last; ++i)
      values[i] *= factor;
  });
}

}  // namespace sculpt
