// A plan for a convolution that cuDNN runs.

#include <array>
#include <map>

#include "kernels/cudnn/plans.h"

namespace sculpt::kernels::cudnn {
namespace {

/// Returns the handle for the calling thread's current device, which the CUDA backend has chosen.
cudnnHandle_t handle() {
  static const cudnnHandle_t the_handle = [] {
    cudnnHandle_t created = nullptr;
    check(cudnnCreate(&created), "starting cuDNN");
    return created;
  }();
  return the_handle;
}

/// Returns the description of the device. It is never destroyed, because at the end of the process
/// cuDNN may be unloaded before it.
const Descriptor& device() {
  static const Descriptor& the_device = *new Descriptor(device_of(handle()));
  return the_device;
}

class ConvolutionPlan final : public LibraryPlan {
 public:
  explicit ConvolutionPlan(EnginePlan engine) : engine_(std::move(engine)) {}

  size_t workspace_bytes() const override { return engine_.workspace_bytes; }
  bool float_weight_grad() const override { return false; }

  void run(void* out, const void* activation, const void* other, void* workspace,
           void* stream) override {
    check(cudnnSetStream(handle(), static_cast<cudaStream_t>(stream)), "giving cuDNN a stream");
    const Descriptor& arguments = variant_pack({out, activation, other, workspace});
    check(cudnnBackendExecute(handle(), engine_.plan.get(), arguments.get()),
          "a convolution of cuDNN");
  }

 private:
  using Pointers = std::array<const void*, 4>;

  /// Returns the variant pack for these pointers. Every step uses the same pointers, so packs are
  /// kept, one for each layer of this shape.
  const Descriptor& variant_pack(const Pointers& pointers) {
    const auto known = packs_.find(pointers);
    if (known != packs_.end()) return known->second;
    constexpr std::array<int64_t, 3> kIds = {0, 1, 2};
    Descriptor pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, kIds);
    pack.set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, std::ssize(kIds),
             pointers.data());
    pack.set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &pointers.back());
    pack.finish("passing arguments to cuDNN");
    return packs_.emplace(pointers, std::move(pack)).first->second;
  }

  EnginePlan engine_;
  std::map<Pointers, Descriptor> packs_;
};

}  // namespace

void start_cudnn() {
  device();
}

std::unique_ptr<LibraryPlan> plan_convolution(const LibraryProblem& problem, size_t limit,
                                              std::string& why_not) {
  auto engine = find_engine(problem, device(), limit, why_not);
  if (!engine) return nullptr;
  return std::make_unique<ConvolutionPlan>(std::move(*engine));
}

}  // namespace sculpt::kernels::cudnn
