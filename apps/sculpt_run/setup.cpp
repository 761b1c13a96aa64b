#include "apps/sculpt_run/setup.h"

#include <algorithm>
#include <fmt/ranges.h>
#include <iterator>
#include <sstream>

#include "apps/sculpt_run/processors.h"
#include "apps/sculpt_run/terminal.h"
#include "engine/core/error.h"
#include "engine/dist/place.h"
#include "engine/train/execution_of_options.h"
#include "kernels/common/parallel.h"

namespace sculpt {
namespace {

/// Opens the device. An error names the setting and its place.
kernels::Device open_device(const Request& request, const Communicator& ranks) try {
  const ExecutionOptions& options = request.options.train.execution;
  const Execution execution = execution_of(options);
  const RankPlace& place = ranks.places()[static_cast<size_t>(ranks.rank())];
  const int ranks_here = ranks_on_host(ranks.places(), ranks.rank());
  const std::string device = ranks_here == 1
                                 ? options.device
                                 : kernels::device_of_rank(options.device, place.local_rank,
                                                           ranks_here, kernels::count_gpus());
  return kernels::open_device(device, execution.precision, execution.conv, warn);
} catch (const Error& error) {
  const std::string text = error.what();
  for (const char* key : {"execution.precision", "execution.conv", "execution.device"}) {
    const bool named = text.starts_with(key);
    const auto place = request.places.find(key);
    if (place == request.places.end() || (!named && key != std::string_view("execution.device")))
      continue;
    const bool needs_key = !named && !place->second.starts_with("--");
    fail("{}: {}{}", place->second, needs_key ? std::string(key) + ": " : "", text);
  }
  throw;
}

/// Returns what this rank has of the processors of its machine. A launcher may have bound each rank
/// to processors of its own.
SharedProcessors processors_of_ranks(Communicator& ranks) {
  const std::vector<std::string> texts =
      ranks.all_gather(fmt::format("{}", fmt::join(processors_of_affinity(), " ")));
  const std::vector<RankPlace>& places = ranks.places();
  const auto self = static_cast<size_t>(ranks.rank());
  std::vector<std::vector<int>> masks;
  size_t own = 0;
  for (size_t rank = 0; rank < texts.size(); ++rank) {
    if (places[rank].host != places[self].host) continue;
    if (rank == self) own = masks.size();
    std::istringstream text(texts[rank]);
    masks.emplace_back(std::istream_iterator<int>(text), std::istream_iterator<int>());
  }
  return share_processors(masks, own, granted_processors());
}

}  // namespace

kernels::Device open(const Request& request, const Communicator& ranks) try {
  const ExecutionOptions& options = request.options.train.execution;
  const Execution execution = execution_of(options);
  kernels::Device device = open_device(request, ranks);
  if (execution.layers.sparse == SparseKernels::tuned) kernels::time_sparse_kernels(device, warn);
  if (request.profiled_steps && !device.backend->trace.start_recording)
    fail("--profile needs a GPU; on the CPU `sculpt_bench profile` times the ops of a step");
  return device;
} catch (const Error& error) {
  throw UsageError(error.what());
}

void prepare_process(const Request& request, Communicator& ranks) {
  if (!request.old_names_note.empty()) note(request.old_names_note);
  if (request.options.dist.exact()) return;  // each logical rank computes with one thread
  const auto threads = static_cast<int>(request.options.train.execution.threads);
  const int here = ranks_on_host(ranks.places(), ranks.rank());
  const SharedProcessors processors = processors_of_ranks(ranks);
  if (threads > 0)
    set_thread_count(threads);
  else if (here > 1)
    set_thread_count(processors.of_rank);
  const std::string problem = too_many_threads(here, thread_count(), processors.of_all);
  if (!problem.empty()) warn(problem);
}

std::unique_ptr<GpuRanks> connect_gpus(const Request& request, const kernels::Device& device,
                                       Communicator& ranks) try {
  if (ranks.size() == 1) return nullptr;
  // A mix of devices is reported later, as other differences between ranks are.
  const std::vector<std::string> gpus = ranks.all_gather(device.bus_id);
  if (std::ranges::any_of(gpus, &std::string::empty)) return nullptr;
  std::string problem;
  const kernels::Collectives* const collectives = kernels::load_collectives(problem);
  return std::make_unique<GpuRanks>(
      ranks, request.options.dist,
      RankGpu{device.side_stream, device.backend->memory, device.bus_id}, collectives, problem);
} catch (const Error& error) {
  throw UsageError(error.what());
}

void say_device(const kernels::Device& device) {
  say("device {} ({}{}{}{}{}){}{}\n", device.name, device.backend->name,
      device.description.empty() ? "" : ", ", device.description,
      device.libraries.empty() ? "" : ", ", device.libraries, device.reason.empty() ? "" : ": ",
      device.reason);
}

}  // namespace sculpt
