// cuDNN plans for the description of a GPU, which this machine need not have. The tests show that
// cuDNN understands the descriptions of layers and can keep the promises of kernels/conv2d.h.
// tools/gpu_check checks its results on a GPU.

#include <dlfcn.h>
#include <doctest/doctest.h>
#include <filesystem>
#include <fmt/format.h>
#include <string>
#include <vector>

#include "kernels/common/check.h"
#include "kernels/cudnn/plans.h"

namespace {

using namespace sculpt::kernels;
using namespace sculpt::kernels::cudnn;
using cuda::Precision;

struct Gpu {
  const char* name;
  int version, multiprocessors, shared_memory;
};

// deviceVer is 100 * major + 10 * minor.
const Gpu kGpus[] = {{"A100", 800, 108, 166912}, {"H100", 900, 132, 232448}};

std::string json_of(const Gpu& gpu) {
  return fmt::format(
      R"({{"deviceName":"{}","deviceVer":{},"multiProcessorCount":{},)"
      R"("maxSharedMemoryPerBlockOptin":{},"maxSharedMemoryPerBlock":49152,)"
      R"("reservedSharedMemoryPerBlock":1024,"cudaDeviceId":0,"driverVer":13000,"isTccDriver":0,)"
      R"("l2CacheSize":41943040,"maxBlockSize":[1024,1024,64],)"
      R"("maxGridSize":[2147483647,65535,65535],"maxCtasPerSM":32,"maxRegistersPerSM":65536,)"
      R"("maxThreadsPerBlock":1024,"maxThreadsPerSM":2048,"memClockRateKHz":1500000,)"
      R"("pciDeviceId":0,"regsPerBlock":65536,"smClockRateKHz":1500000,"supportCoopLaunch":1,)"
      R"("totalGlobalMem":80000000000,"warpSize":32}})",
      gpu.name, gpu.version, gpu.multiprocessors, gpu.shared_memory);
}

struct Layer {
  int64_t batch, in, height, width, out, kernel_h, kernel_w, stride, padding, groups = 1;
};

Conv2dShape shape_of(const Layer& l) {
  Conv2dShape s;
  s.in = {l.in, l.height, l.width, 0};
  s.out = {l.out, conv2d_output_size(l.height, l.kernel_h, l.stride, l.padding),
           conv2d_output_size(l.width, l.kernel_w, l.stride, l.padding), 0};
  s.kernel_h = l.kernel_h;
  s.kernel_w = l.kernel_w;
  s.stride = l.stride;
  s.padding = l.padding;
  s.groups = l.groups;
  return s;
}

/// Layers of ResNet-20, of ResNet-18 for 224 pixels, with groups, and of odd sizes.
const Layer kLayers[] = {{128, 3, 32, 32, 16, 3, 3, 1, 1},  {128, 16, 32, 32, 16, 3, 3, 1, 1},
                         {128, 16, 32, 32, 32, 3, 3, 2, 1}, {128, 16, 32, 32, 32, 1, 1, 2, 0},
                         {80, 64, 8, 8, 64, 3, 3, 1, 1},    {32, 3, 224, 224, 64, 7, 7, 2, 3},
                         {17, 8, 6, 5, 12, 3, 3, 1, 1, 4},  {3, 11, 9, 9, 11, 3, 3, 1, 1, 11},
                         {4, 3, 6, 9, 5, 2, 5, 2, 1},       {4, 3, 7, 9, 5, 1, 1, 1, 2}};

std::vector<cudnnBackendNumericalNote_t> notes_of(const EnginePlan& plan) {
  std::vector<Descriptor> config, engine;
  config.emplace_back(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
  engine.emplace_back(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
  plan.plan.read(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config);
  config[0].read(CUDNN_ATTR_ENGINECFG_ENGINE, engine);
  return engine[0].numerical_notes();
}

constexpr size_t kLimit = size_t{256} << 20;

TEST_CASE("cudnn: cuDNN has a deterministic engine for every pass of every layer and precision") {
  for (const Gpu& gpu : kGpus) {
    const Descriptor device = device_from_json(json_of(gpu));
    for (const Layer& layer : kLayers)
      for (const Precision precision : {Precision::fp32, Precision::tf32, Precision::bf16})
        for (const ConvPass pass : kConvPasses)
          for (const bool accumulate : {false, true}) {
            if (accumulate && pass != ConvPass::input_grad) continue;
            CAPTURE(gpu.name);
            CAPTURE(fmt::format("{} channels, {}x{}, kernel {}x{}, stride {}, groups {}", layer.in,
                                layer.height, layer.width, layer.kernel_h, layer.kernel_w,
                                layer.stride, layer.groups));
            CAPTURE(static_cast<int>(precision));
            CAPTURE(static_cast<int>(pass));
            CAPTURE(accumulate);
            std::string why_not;
            const auto plan =
                find_engine({precision, pass, shape_of(layer), layer.batch, accumulate}, device,
                            kLimit, why_not);
            CAPTURE(why_not);
            REQUIRE(plan.has_value());
            CHECK(plan->workspace_bytes <= kLimit);
            for (const auto note : notes_of(*plan)) {
              CHECK(note != CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC);
              CHECK(note != CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION);
              if (precision == Precision::fp32) CHECK(note != CUDNN_NUMERICAL_NOTE_TENSOR_CORE);
            }
          }
  }
}

TEST_CASE("cudnn: cuDNN keeps to the workspace it is given") {
  const Descriptor device = device_from_json(json_of(kGpus[1]));
  // The first choice of cuDNN for the weight gradient of few channels takes megabytes of workspace.
  const cuda::LibraryProblem problem = {Precision::tf32, ConvPass::weight_grad,
                                        shape_of(kLayers[1]), 128};
  std::string why_not;
  const auto first = find_engine(problem, device, kLimit, why_not);
  REQUIRE(first.has_value());
  REQUIRE(first->workspace_bytes > 0);
  const auto smaller = find_engine(problem, device, first->workspace_bytes - 1, why_not);
  if (smaller) CHECK(smaller->workspace_bytes < first->workspace_bytes);
}

TEST_CASE("cudnn: cuDNN refuses what is not a convolution, in words") {
  const Descriptor device = device_from_json(json_of(kGpus[1]));
  Conv2dShape wrong = shape_of(kLayers[1]);
  wrong.out.height += 1;
  std::string why_not;
  CHECK_THROWS_AS(
      find_engine({Precision::bf16, ConvPass::forward, wrong, 4}, device, kLimit, why_not),
      sculpt::Error);
  CHECK_THROWS_AS(device_from_json("{}"), sculpt::Error);
}

TEST_CASE("cudnn: the loadable library plans matrix products, and says its versions") {
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe");
  void* const library = dlopen((program.parent_path() / cuda::kConvLibraryFile).c_str(), RTLD_NOW);
  REQUIRE(library != nullptr);
  const auto entry =
      reinterpret_cast<cuda::ConvLibraryEntry>(dlsym(library, cuda::kConvLibraryEntry));
  REQUIRE((entry != nullptr));
  CHECK(entry()->versions().starts_with("cuDNN 9."));
  CHECK(entry()->versions().find(", cuBLAS ") != std::string::npos);
  const cuda::LibraryProblem problem = {Precision::bf16, ConvPass::weight_grad,
                                        shape_of({128, 512, 1, 1, 10, 1, 1, 1, 0}), 128};
  for (const size_t limit : {size_t{0}, size_t{1} << 20, kLimit}) {
    std::string why_not;
    const auto plan = entry()->plan(problem, limit, why_not);
    REQUIRE(plan != nullptr);
    CHECK(plan->workspace_bytes() <= limit);
    CHECK(plan->float_weight_grad());
  }
}

TEST_CASE("cudnn: matrix products are 1 x 1 windows on every pixel") {
  CHECK(is_matrix_product(shape_of({2, 8, 4, 4, 16, 1, 1, 1, 0})));
  for (const Layer& layer : {Layer{2, 8, 4, 4, 16, 1, 1, 2, 0}, Layer{2, 8, 4, 4, 16, 1, 1, 1, 1},
                             Layer{2, 8, 4, 4, 16, 1, 1, 1, 0, 4},
                             Layer{2, 8, 4, 4, 16, 1, 3, 1, 0}, Layer{2, 8, 4, 4, 16, 3, 1, 1, 0}})
    CHECK_FALSE(is_matrix_product(shape_of(layer)));
}

}  // namespace
