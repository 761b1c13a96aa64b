#include "tests/cuda/on_host/loop_library.h"

#include <cstring>
#include <cuda_runtime.h>
#include <vector>

#include "kernels/cuda/element.h"

namespace sculpt::test {
namespace {

using namespace kernels;
using namespace kernels::cuda;

/// Calls body(x index, weight index, y index) for every multiply-add, in NHWC and O, kh, kw, I.
template <class Body>
void for_each_product(const LibraryProblem& p, const Body& body) {
  const Conv2dShape& s = p.shape;
  const int64_t ins = s.in_channels_per_group(), outs = s.out_channels_per_group();
  for (int64_t n = 0; n < p.batch; ++n)
    for (int64_t i = 0; i < s.out.height; ++i)
      for (int64_t j = 0; j < s.out.width; ++j)
        for (int64_t r = 0; r < s.kernel_h; ++r)
          for (int64_t q = 0; q < s.kernel_w; ++q) {
            const int64_t y = i * s.stride - s.padding + r, x = j * s.stride - s.padding + q;
            if (y < 0 || y >= s.in.height || x < 0 || x >= s.in.width) continue;
            const int64_t from = ((n * s.in.height + y) * s.in.width + x) * s.in.channels;
            const int64_t to = ((n * s.out.height + i) * s.out.width + j) * s.out.channels;
            for (int64_t o = 0; o < s.out.channels; ++o)
              for (int64_t c = 0; c < ins; ++c)
                body(static_cast<size_t>(from + o / outs * ins + c),
                     static_cast<size_t>(((o * s.kernel_h + r) * s.kernel_w + q) * ins + c),
                     static_cast<size_t>(to + o));
          }
}

class LoopPlan final : public LibraryPlan {
 public:
  LoopPlan(const LibraryProblem& problem, size_t workspace_bytes)
      : problem_(problem), workspace_bytes_(workspace_bytes) {}
  ~LoopPlan() override { ++loop_library_state().destroyed; }
  LoopPlan(const LoopPlan&) = delete;
  LoopPlan& operator=(const LoopPlan&) = delete;

  size_t workspace_bytes() const override { return workspace_bytes_; }
  /// Writes the gradient of 1 x 1 weights as float, as cuBLAS does.
  bool float_weight_grad() const override {
    return problem_.shape.kernel_h == 1 && problem_.shape.kernel_w == 1;
  }

  /// Runs in the order of the stream, as the kernels of a library do. During a capture the run
  /// becomes part of the graph.
  void run(void* out, const void* activation, const void* other, void* workspace,
           void* stream) override {
    ++loop_library_state().runs;
    loop_library_state().on_run();
    cuda_on_host::put("a library's convolution", stream, [=, this] {
      execute(out, activation, other, workspace);
      return true;
    });
  }

 private:
  void execute(void* out, const void* activation, const void* other, void* workspace) const {
    if (problem_.precision != Precision::bf16)
      compute<float, float>(out, activation, other);
    else if (problem_.pass == ConvPass::weight_grad && float_weight_grad())
      compute<bf16, float>(out, activation, other);
    else
      compute<bf16, bf16>(out, activation, other);
    std::memset(workspace, 0xff, workspace_bytes_);  // last, so that no caller can keep data in it
  }

  template <class In, class Out>
  void compute(void* to, const void* from_a, const void* from_b) const {
    const auto* a = static_cast<const In*>(from_a);
    const auto* b = static_cast<const In*>(from_b);
    auto* out = static_cast<Out*>(to);
    std::vector<double> sums(out_size());
    for_each_product(problem_, [&](size_t x, size_t w, size_t y) {
      switch (problem_.pass) {
        case ConvPass::forward:
          sums[y] += static_cast<double>(to_float(a[x])) * static_cast<double>(to_float(b[w]));
          break;
        case ConvPass::input_grad:
          sums[x] += static_cast<double>(to_float(a[y])) * static_cast<double>(to_float(b[w]));
          break;
        case ConvPass::weight_grad:
          sums[w] += static_cast<double>(to_float(a[y])) * static_cast<double>(to_float(b[x]));
          break;
      }
    });
    for (size_t i = 0; i < sums.size(); ++i) {
      const double before = problem_.accumulate ? static_cast<double>(to_float(out[i])) : 0.0;
      out[i] = from_float<Out>(static_cast<float>(before + sums[i]));
    }
  }

  size_t out_size() const {
    const Conv2dShape& s = problem_.shape;
    switch (problem_.pass) {
      case ConvPass::forward:
        return static_cast<size_t>(problem_.batch * s.out.elements_per_image());
      case ConvPass::input_grad:
        return static_cast<size_t>(problem_.batch * s.in.elements_per_image());
      case ConvPass::weight_grad:
        break;
    }
    return static_cast<size_t>(s.weight_count());
  }

  LibraryProblem problem_;
  size_t workspace_bytes_;
};

std::unique_ptr<LibraryPlan> plan(const LibraryProblem& problem, size_t workspace_limit,
                                  std::string& why_not) {
  const LoopLibrary& library = loop_library_state();
  const size_t bytes = library.workspace(problem);
  if (bytes > workspace_limit || library.refuses(problem)) {
    why_not = bytes > workspace_limit ? "loops need more workspace" : "loops were told to refuse";
    return nullptr;
  }
  ++loop_library_state().plans;
  return std::make_unique<LoopPlan>(problem, bytes);
}

}  // namespace

void LoopLibrary::reset() {
  plans = runs = destroyed = 0;
  workspace = [](const LibraryProblem& p) { return static_cast<size_t>(1000 + 16 * p.batch); };
  refuses = [](const LibraryProblem&) { return false; };
  on_run = [] {};
}

LoopLibrary& loop_library_state() {
  static LoopLibrary library = [] {
    LoopLibrary fresh;
    fresh.reset();
    return fresh;
  }();
  return library;
}

const ConvLibrary& loop_library() {
  static const ConvLibrary library = {[] { return std::string("loops 1.0"); }, [] {}, plan};
  return library;
}

Chooser& loop_chooser() {
  static Chooser chooser;
  return chooser;
}

}  // namespace sculpt::test
