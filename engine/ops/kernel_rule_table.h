#pragma once
// The table behind the rule has break-even densities, up to which kernels that skip masked weights
// beat dense kernels. `sculpt_bench rule` measures these densities and prints them beside the
// values of this table:
//
//   sculpt_bench rule --threads 1 --model resnet20 --batch 128
//   sculpt_bench rule --threads 1 --model resnet18 --batch 64
//
// The benchmark counts CPU time when it runs with one thread. A row holds for a class of layers,
// and its value lies between those of the measured layers. If the two times cross slowly, the value
// is at the upper end, because layers that are sparse in all passes also run block by block. The
// benchmark of single passes does not show that effect; `sculpt_bench choices` does.

#include <cstdint>
#include <limits>
#include <span>
#include <string_view>

#include "engine/ops/kernel_rule.h"

namespace sculpt::ops {

/// Classes of layers whose dense kernels behave alike.
enum class LayerKind {
  image,      ///< at most 4 input channels in a group: first layers, and depthwise ones
  pointwise,  ///< 1x1 windows and linear layers
  strided,    ///< larger windows with a stride
  spatial,    ///< larger windows without a stride, direct kernels
  winograd,   ///< larger windows without a stride, on Winograd's algorithm
};

/// Break-even densities of one class of layers.
struct RuleRow {
  LayerKind kind;
  int64_t most_channels;  ///< the smaller of the input channels in a group and the output channels
  int64_t most_pixels;    ///< pixels of the output
  double forward, input_grad, weight_grad;
};

/// The rows of one class of machines. The first row that fits a layer applies. The last row of each
/// kind fits all layers of that kind.
struct RuleSection {
  std::string_view backend;
  CacheClass cache;
  bool measured;  ///< true if the benchmark measured the rows on a machine of this class
  std::span<const RuleRow> rows;
};

inline constexpr int64_t kAny = std::numeric_limits<int64_t>::max();

// These rows were measured on an AMD EPYC of the third generation (family 25, model 1; AVX2, L2 of
// 512 KiB, L3 of 32 MiB), one thread, 2026-11-28, with the layers of ResNet-18 and ResNet-20;
// depthwise layers were not measured. The rows of first layers, of 1x1 layers and of 16 channels
// were raised to where whole steps with two threads are fastest (`sculpt_bench choices`).
inline constexpr RuleRow kAvx2HalfMib[] = {
    {LayerKind::image, kAny, kAny, 0.70, 0.70, 0.60},
    {LayerKind::pointwise, kAny, kAny, 0.70, 0.70, 0.70},
    {LayerKind::strided, 32, kAny, 0.56, 0.70, 0.57},
    {LayerKind::strided, kAny, kAny, 0.42, 0.70, 0.60},
    {LayerKind::spatial, 16, kAny, 0.52, 0.52, 0.60},
    {LayerKind::spatial, kAny, kAny, 0.45, 0.46, 0.60},
    {LayerKind::winograd, 32, kAny, 0.38, 0.38, 0.24},
    {LayerKind::winograd, 64, 64, 0.22, 0.22, 0.24},
    {LayerKind::winograd, 64, kAny, 0.22, 0.22, 0.17},
    {LayerKind::winograd, kAny, kAny, 0.22, 0.22, 0.14},
};

// These rows were measured on an AMD EPYC of the fourth generation (family 25, model 17; AVX-512,
// L2 of 1 MiB, L3 of 32 MiB), one thread, 2026-11-30, with the layers of ResNet-18 and ResNet-20.
// Depthwise layers, and layers without a stride that Winograd's algorithm does not fit, were not
// measured; the rows of the latter come from the direct kernels' times of layers that it fits.
inline constexpr RuleRow kAvx512OneMib[] = {
    {LayerKind::image, kAny, kAny, 0.70, 0.70, 0.70},
    {LayerKind::pointwise, kAny, kAny, 0.70, 0.70, 0.50},
    {LayerKind::strided, kAny, kAny, 0.70, 0.70, 0.70},
    {LayerKind::spatial, kAny, kAny, 0.60, 0.60, 0.60},
    {LayerKind::winograd, kAny, 16, 0.30, 0.31, 0.28},
    {LayerKind::winograd, 64, kAny, 0.23, 0.27, 0.23},
    {LayerKind::winograd, kAny, kAny, 0.20, 0.21, 0.22},
};

/// Machines without a section of their own use the first section of their instruction set, or the
/// first of all.
inline constexpr RuleSection kRuleSections[] = {
    {"cpu-avx2", CacheClass::half_mib, true, kAvx2HalfMib},
    {"cpu-avx512", CacheClass::one_mib, true, kAvx512OneMib},
};

}  // namespace sculpt::ops
