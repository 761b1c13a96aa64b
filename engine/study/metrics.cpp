#include "engine/study/metrics.h"

#include <algorithm>
#include <array>

namespace sculpt {
namespace {

constexpr double kMinute = 1.0 / 60, kMebibyte = 1.0 / (1 << 20);

constexpr auto kMetrics = std::to_array<Metric>({
    {"test_accuracy", "test accuracy (%)", 100, Better::higher},
    {"test_loss", "test loss", 1, Better::lower},
    {"best_test_accuracy_at_final_density", "best test accuracy (%)", 100, Better::higher},
    {"test_accuracy_before_reestimation", "test accuracy before re-estimation (%)", 100,
     Better::higher},
    {"train_loss", "training loss", 1, Better::lower},
    {"train_flops", "training FLOPs (10\u00b9\u00b2)", 1e-12, Better::lower, true},
    {"train_flops_vs_dense", "training FLOPs (one dense cycle = 1)", 1, Better::lower, true},
    {"seconds", "training time (minutes)", kMinute, Better::lower},
    {"seconds_dense", "time on dense kernels (minutes)", kMinute, Better::lower},
    {"train_seconds", "time of training steps (minutes)", kMinute, Better::lower},
    {"train_seconds_dense", "time of training steps on dense kernels (minutes)", kMinute,
     Better::lower},
    {"images_per_second", "images per second", 1, Better::higher},
    {"sparsity", "sparsity (%)", 100, Better::unclear, true},
    {"density", "kept weights (%)", 100, Better::unclear, true},
    {"density_mean", "kept weights, mean over training (%)", 100, Better::unclear, true},
    {"epochs", "epochs", 1, Better::unclear, true},
    {"steps", "training steps", 1, Better::unclear, true},
    {"prunable", "prunable weights", 1, Better::unclear, true},
    {"kept", "kept weights", 1, Better::unclear, true},
    {"peak_memory_bytes", "peak memory (MiB)", kMebibyte, Better::lower},
    {"peak_device_memory_bytes", "peak memory of the GPU (MiB)", kMebibyte, Better::lower},
});

}  // namespace

std::span<const Metric> study_metrics() {
  return kMetrics;
}

Metric metric_of(const std::string& name) {
  const auto found = std::ranges::find(kMetrics, name, &Metric::name);
  return found == kMetrics.end() ? Metric{.name = name, .label = name} : *found;
}

}  // namespace sculpt
