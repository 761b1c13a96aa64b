// survey_cuda_step prints, as JSON, what a training step launches on a GPU: for each pass of each
// op the kernels with their grids, the work of their blocks (cuda_on_host/survey.h), and the bytes
// and FLOPs that the pass must move and compute. It needs no GPU, because the host layer runs a few
// blocks of each launch. tools/cuda_kernels.py reads it.
//
// A kernel is given as its address in this program, relative to where the program is loaded. The
// program's symbols then tell which instance of a template was launched; `spelled` does not.

#include <CLI/CLI.hpp>
#include <cuda_runtime.h>
#include <dlfcn.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "apps/sculpt_bench/floors.h"
#include "apps/sculpt_bench/kernel_times.h"
#include "apps/sculpt_bench/training_step.h"
#include "engine/core/error.h"
#include "kernels/cuda/device/backend.h"
#include "tests/cuda/on_host/tracing.h"

namespace sculpt::bench {
namespace {

using nlohmann::ordered_json;

const kernels::Backend& backend_of(const std::string& precision) {
  for (const kernels::Backend* backend : kernels::cuda::backends())
    if (backend->name == "cuda-" + precision) return *backend;
  throw Error(fmt::format("--precision {}: expected fp32, tf32 or bf16", precision));
}

/// Returns the address of a kernel relative to the start of this program.
uintptr_t offset_of(const void* function) {
  Dl_info info;
  if (dladdr(function, &info) == 0) throw Error("a kernel lies in no known file");
  return reinterpret_cast<uintptr_t>(function) - reinterpret_cast<uintptr_t>(info.dli_fbase);
}

ordered_json numbers(const dim3& of) {
  return {of.x, of.y, of.z};
}

ordered_json entry_of(const cuda_on_host::SurveyedLaunch& launch) {
  const cuda_on_host::BlockWork& work = launch.work;
  return {{"kernel", offset_of(launch.function)},
          {"spelled", launch.kernel},
          {"grid", numbers(launch.grid)},
          {"block", numbers(launch.block)},
          {"shared_bytes", launch.shared_bytes},
          {"sampled_blocks", launch.sampled_blocks},
          {"matrix_products", work.matrix_products},
          {"copied_bytes", work.copied_bytes},
          {"read_bytes", work.read_bytes},
          {"written_bytes", work.written_bytes}};
}

/// Collects launches by the pass of the op that launches them, or by the phase of the step.
class Survey {
 public:
  explicit Survey(const Graph& graph, int64_t batch, const Storage& storage)
      : graph_(graph), batch_(batch), storage_(storage) {}

  void add(const cuda_on_host::SurveyedLaunch& launch) {
    const auto& ranges = test::open_trace_ranges();
    // The first step also makes the compute copy of the weights, which the update of a step writes
    // for the next step. This launch lies in no range.
    if (ranges.empty()) return;
    if (ranges != last_ranges_) {
      last_ranges_ = ranges;
      passes_.push_back(pass_of(ranges));
    }
    passes_.back()["launches"].push_back(entry_of(launch));
  }
  const ordered_json& passes() const { return passes_; }

 private:
  ordered_json pass_of(const std::vector<std::string>& ranges) const {
    const std::string& phase = ranges.front();
    ordered_json pass = {{"op", phase}, {"name", ""}, {"shape", ""}, {"bytes", 0}, {"flops", 0}};
    if (ranges.size() > 1) {
      for (const auto& node : graph_.nodes())
        if (node->info.name == ranges[1]) describe(pass, *node, phase == "forward");
    }
    pass["launches"] = ordered_json::array();
    return pass;
  }
  void describe(ordered_json& pass, const Node& node, bool forward) const {
    const Cost cost = forward ? forward_cost(graph_, node, batch_, storage_)
                              : backward_cost(graph_, node, batch_, storage_);
    pass["op"] = fmt::format("{}, {}", node.info.op, forward ? "forward" : "backward");
    pass["name"] = node.info.name;
    pass["shape"] = shape_of(graph_, node);
    pass["bytes"] = cost.bytes;
    pass["flops"] = cost.flops;
    if (forward || node.info.macs == 0) return;
    pass["input_grad_bytes"] = input_grad_cost(graph_, node, batch_, storage_).bytes;
    pass["weight_grad_bytes"] = weight_grad_cost(graph_, node, batch_, storage_).bytes;
  }

  const Graph& graph_;
  int64_t batch_;
  Storage storage_;
  std::vector<std::string> last_ranges_;
  ordered_json passes_ = ordered_json::array();
};

int run(int argc, char** argv) {
  CLI::App app{"Prints what a training step launches on a GPU, as JSON. Needs no GPU."};
  StepOptions options;
  options.batch = 512;
  options.execution.precision = "bf16";
  app.add_option("--model", options.model)->capture_default_str();
  app.add_option("--batch", options.batch)->check(CLI::Range(1, 65536))->capture_default_str();
  app.add_option("--image-size", options.image_size)->capture_default_str();
  app.add_option("--classes", options.classes)->capture_default_str();
  app.add_option("--precision", options.execution.precision)->capture_default_str();
  CLI11_PARSE(app, argc, argv);

  const kernels::Backend& backend = backend_of(options.execution.precision);
  cuda_on_host::set_device_memory(size_t{80} << 30);
  cuda_on_host::survey([](const auto&) {});
  TrainingStep step(options, backend);
  const Graph& graph = step.network().graph();
  Survey survey(graph, options.batch, gpu_storage(options.execution.precision));
  cuda_on_host::survey([&](const auto& launch) { survey.add(launch); });
  step.run();
  cuda_on_host::survey({});
  const ordered_json result = {{"model", options.model},
                               {"batch", options.batch},
                               {"image_size", options.image_size},
                               {"precision", options.execution.precision},
                               {"weights", graph.parameters().count()},
                               {"passes", survey.passes()}};
  fmt::print("{}\n", result.dump(1));
  return 0;
}

}  // namespace
}  // namespace sculpt::bench

int main(int argc, char** argv) try {
  return sculpt::bench::run(argc, argv);
} catch (const std::exception& error) {
  fmt::print(stderr, "error: {}\n", error.what());
  return 1;
}
