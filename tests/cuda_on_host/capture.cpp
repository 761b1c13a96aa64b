#include "cuda_on_host/capture.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "cuda_on_host/grid.h"
#include "cuda_on_host/runtime.h"
#include "queues.h"

namespace {

using cuda_on_host::Work;

/// A piece of work of a graph.
struct GraphNode {
  Work work;
  bool side;               // whether its stream is a side stream
  std::vector<int> after;  // nodes that come before it
};
using Nodes = std::vector<GraphNode>;

}  // namespace

struct CUgraph_st {
  Nodes nodes;
};
struct CUgraphExec_st {
  std::shared_ptr<const Nodes> nodes;
};

namespace {

struct Capture {
  uint64_t number = 0;
  std::thread::id thread;
  cudaStream_t origin = nullptr;
  CUgraph_st* graph = nullptr;  // null: nothing is being captured
  bool spoiled = false;
  /// The captured streams, and the nodes that come before the next work of each.
  std::map<cudaStream_t, std::vector<int>> last;
};

struct Current {
  std::recursive_mutex mutex;
  uint64_t captures = 0;
  Capture capture;
};
Current& current = *new Current;

bool of_this_thread() {
  return current.capture.graph != nullptr && current.capture.thread == std::this_thread::get_id();
}

bool is_captured_stream(cudaStream_t stream) {
  return current.capture.graph != nullptr && current.capture.last.contains(stream);
}

/// Returns, for each node, whether it comes before the nodes `last`, or is one of them.
std::vector<bool> with_ancestors(const Nodes& nodes, const std::vector<int>& last) {
  std::vector<bool> found(nodes.size());
  for (const int node : last)
    found[static_cast<size_t>(node)] = true;
  for (size_t node = nodes.size(); node-- > 0;)
    if (found[node])
      for (const int before : nodes[node].after)
        found[static_cast<size_t>(before)] = true;
  return found;
}

/// Returns true if the first stream of the capture has waited for the work of the others.
bool is_joined(const Capture& capture) {
  const std::vector<bool> done =
      with_ancestors(capture.graph->nodes, capture.last.at(capture.origin));
  return std::ranges::all_of(capture.last, [&](const auto& stream) {
    return std::ranges::all_of(stream.second,
                               [&](int node) { return done[static_cast<size_t>(node)]; });
  });
}

/// One launch of a graph.
class GraphRun {
 public:
  explicit GraphRun(std::shared_ptr<const Nodes> nodes)
      : nodes_(std::move(nodes)), missing_(nodes_->size()), followers_(nodes_->size()) {
    for (size_t node = 0; node < nodes_->size(); ++node) {
      missing_[node] = (*nodes_)[node].after.size();
      if (missing_[node] == 0) ready_.push_back(node);
      for (const int before : (*nodes_)[node].after)
        followers_[static_cast<size_t>(before)].push_back(node);
    }
  }

  /// Executes what can be executed. Returns true if all is done.
  bool step() {
    do {
      for (size_t i = 0; i < started_.size();)
        if (call(started_[i]))
          started_.erase(started_.begin() + static_cast<std::ptrdiff_t>(i));
        else
          ++i;
      while (!ready_.empty()) {
        const size_t chosen = cuda_on_host::choose_next(
            ready_.size(), [&](size_t i) { return (*nodes_)[ready_[i]].side; });
        const size_t node = ready_[chosen];
        ready_.erase(ready_.begin() + static_cast<std::ptrdiff_t>(chosen));
        if (!call(node)) started_.push_back(node);
      }
      // Work that has finished now may let other work start.
    } while (!ready_.empty());
    return started_.empty();
  }

 private:
  bool call(size_t node) {
    if (!(*nodes_)[node].work()) return false;
    for (const size_t follower : followers_[node])
      if (--missing_[follower] == 0)
        ready_.insert(std::ranges::upper_bound(ready_, follower), follower);
    return true;
  }

  std::shared_ptr<const Nodes> nodes_;
  std::vector<size_t> missing_;                 // nodes that must come before, per node
  std::vector<std::vector<size_t>> followers_;  // per node
  std::vector<size_t> ready_;                   // may start, in the order of the capture
  std::vector<size_t> started_;                 // could not finish yet
};

}  // namespace

namespace cuda_on_host {

bool is_captured(const char* what, void* stream) {
  const std::lock_guard lock(current.mutex);
  if (is_captured_stream(static_cast<cudaStream_t>(stream))) return true;
  if (of_this_thread())
    throw std::invalid_argument(std::string(what) + ": not on a stream that is being captured");
  return false;
}

void capture_work(cudaStream_t stream, Work work) {
  const std::lock_guard lock(current.mutex);
  std::vector<int>& last = current.capture.last.at(stream);
  Nodes& nodes = current.capture.graph->nodes;
  nodes.push_back({std::move(work), queue_of(stream)->side, last});
  last = {static_cast<int>(nodes.size()) - 1};
}

void capture(void* stream, std::function<void()> work) {
  capture_work(static_cast<cudaStream_t>(stream), [work = std::move(work)] {
    work();
    return true;
  });
}

void capture_launch(const char* kernel, void* stream, std::function<void()> run) {
  if (!was_launched(kernel))
    throw std::invalid_argument(std::string(kernel) + ": captured before it was launched once");
  capture(stream, std::move(run));
}

bool spoils_capture() {
  const std::lock_guard lock(current.mutex);
  if (!of_this_thread()) return false;
  current.capture.spoiled = true;
  return true;
}

bool record_in_capture(cudaStream_t stream, CapturedPlace& place) {
  const std::lock_guard lock(current.mutex);
  place = {};
  if (!is_captured_stream(stream)) return false;
  place = {current.capture.number, current.capture.last.at(stream)};
  return true;
}

bool wait_in_capture(cudaStream_t stream, const CapturedPlace& place, cudaError_t& error) {
  const std::lock_guard lock(current.mutex);
  const bool captured = is_captured_stream(stream);
  if (place.capture == 0) {
    if (!captured) return false;
    current.capture.spoiled = true;
    error = cudaErrorStreamCaptureIsolation;
    return true;
  }
  if (current.capture.graph == nullptr || place.capture != current.capture.number) {
    if (captured) current.capture.spoiled = true;
    error = cudaErrorCapturedEvent;
    return true;
  }
  std::vector<int>& last = current.capture.last[stream];
  for (const int node : place.nodes)
    if (std::ranges::find(last, node) == last.end()) last.push_back(node);
  return true;
}

}  // namespace cuda_on_host

using cuda_on_host::remember;

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  const std::lock_guard lock(current.mutex);
  if (stream == nullptr || current.capture.graph != nullptr)
    return cudaErrorStreamCaptureUnsupported;
  current.capture = {.number = ++current.captures,
                     .thread = std::this_thread::get_id(),
                     .origin = stream,
                     .graph = new CUgraph_st,
                     .spoiled = false,
                     .last = {{stream, {}}}};
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  const std::lock_guard lock(current.mutex);
  *graph = nullptr;
  if (current.capture.graph == nullptr || stream != current.capture.origin)
    return cudaErrorInvalidValue;
  const Capture ended = std::exchange(current.capture, {});
  const bool joined = is_joined(ended);
  if (ended.spoiled || !joined) {
    delete ended.graph;
    return remember(joined ? cudaErrorStreamCaptureInvalidated : cudaErrorStreamCaptureUnjoined);
  }
  *graph = ended.graph;
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph,
                                 unsigned long long) {
  *executable = new CUgraphExec_st{std::make_shared<const Nodes>(graph->nodes)};
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  if (cuda_on_host::spoils_capture()) return cudaErrorStreamCaptureUnsupported;
  if (cuda_on_host::refuses_launch(stream)) return cudaErrorInvalidResourceHandle;
  const auto run = std::make_shared<GraphRun>(executable->nodes);
  cuda_on_host::put(cuda_on_host::queue_of(stream), [run] { return run->step(); });
  return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  delete executable;
  return cudaSuccess;
}
