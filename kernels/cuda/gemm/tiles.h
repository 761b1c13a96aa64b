#pragma once
// Chooses the tile of a GEMM whose rows are pixels.

#include "kernels/cuda/gemm/implicit_gemm.h"

namespace sculpt::kernels::cuda {

/// Larger tiles would leave multiprocessors idle if a launch had fewer blocks than this.
inline constexpr int64_t kFewBlocks = 132;

/// The largest tile. With float operands it is smaller, because more sums would not fit a thread's
/// share of registers.
template <class T>
using LargeTile =
    std::conditional_t<sizeof(T) == 2, GemmTile<128, 128, 64, 32, 4>, GemmTile<128, 64, 64, 32>>;

/// The number of rows of the lowest tile that launch_pixel_gemm() chooses.
inline constexpr int64_t kMinPixelRows = 64;

/// Launches a GEMM with many rows, whose columns are channels (16 to 64 in networks for small
/// images), so tiles are as wide as the channels. Without 16-byte vectors, loading dominates
/// whatever the tile. Returns the number of blocks along the rows.
template <class Math, GemmPass<typename Math::Element> Pass>
int64_t launch_pixel_gemm(const Pass& pass, int64_t m, int64_t n, int64_t count, bool vectors,
                          void* stream) {
  int64_t row_blocks = 0;
  auto run = [&](auto tile, auto with_vectors) {
    using Tile = decltype(tile);
    static_assert(Tile::kBlockM >= kMinPixelRows);
    launch_implicit_gemm<Math, Tile, decltype(with_vectors)::value>(pass, m, n, count, stream);
    row_blocks = ceil_div(m, Tile::kBlockM);
  };
  const auto blocks = [&](int64_t side_n) {
    return ceil_div(m, 128) * ceil_div(n, side_n) * count;
  };
  if (!vectors) {
    if (n <= 32)
      run(GemmTile<128, 32, 32, 32>{}, std::false_type{});
    else
      run(GemmTile<64, 64, 32, 32>{}, std::false_type{});
  } else if (n <= 16) {
    run(GemmTile<128, 16, 32, 16>{}, std::true_type{});
  } else if (n <= 32) {
    run(GemmTile<128, 32, 32, 32>{}, std::true_type{});
  } else if (n > 64 && blocks(LargeTile<typename Math::Element>::kBlockN) >= kFewBlocks) {
    run(LargeTile<typename Math::Element>{}, std::true_type{});
  } else if (n <= 64 && blocks(64) >= kFewBlocks) {
    run(GemmTile<128, 64, 64, 32>{}, std::true_type{});
  } else {
    run(GemmTile<64, 64, 32, 32>{}, std::true_type{});
  }
  return row_blocks;
}

}  // namespace sculpt::kernels::cuda
