#pragma once
// Convolutions and linear layers whose passes run either on our kernels or on those of a library.

#include <array>
#include <map>
#include <memory>
#include <optional>

#include "kernels/device/backend.h"
#include "kernels/device/library_interface.h"
#include "kernels/tuning/chooser.h"

namespace sculpt::kernels::cuda {

/// The convolution problems of one backend, and the kernels chosen for them. Everything is decided
/// when workspace_bytes() is called for a shape, and later calls only look it up. The exception are
/// batches smaller than the largest: their plans are created when such a batch first arrives.
class LibraryConvolutions {
 public:
  /// `native` is the backend with our kernels.
  LibraryConvolutions(const Backend& native, Precision precision, const ConvLibrary& library,
                      Chooser& chooser);

  // The functions of kernels/conv2d.h.
  size_t workspace_bytes(const Conv2dShape& shape, int64_t max_batch);
  /// If a library computes the forward pass, it leaves no sums.
  void forward(const ConvForward& args, const Conv2dShape& shape);
  size_t output_sums_bytes(const Conv2dShape& shape, int64_t max_batch);
  void input_grad(const ConvInputGrad& args, const Conv2dShape& shape);
  void weight_grad(const ConvWeightGrad& args, const Conv2dShape& shape);

 private:
  using ShapeKey = std::array<int64_t, 11>;
  using PlanKey = std::tuple<int64_t, ConvPass, bool>;  ///< batch, pass, accumulate
  /// The kernels of a network whose largest batch has some size, and the workspace that the network
  /// allocates for them. Several networks with different largest batches may be alive, so a layer
  /// has a decision for each size.
  struct Decision {
    size_t workspace_bytes = 0;
    std::map<ConvPass, Choice> choices;
  };
  struct Layer {
    std::map<int64_t, Decision> decisions;  ///< keyed by the largest batch
    /// Null if the library has no plan. Plans are never destroyed, because captured graphs may use
    /// them.
    std::map<PlanKey, std::unique_ptr<LibraryPlan>> plans;
  };

  static ShapeKey key_of(const Conv2dShape& shape);
  LibraryProblem problem(const Conv2dShape& shape, int64_t batch, ConvPass pass, bool add) const;
  size_t gradient_bytes(ConvPass pass, const Conv2dShape& shape) const;
  size_t total_bytes(const LibraryPlan& plan, ConvPass pass, const Conv2dShape& shape) const;

  static bool may_run(const Layer& layer, int64_t batch, ConvPass pass);
  LibraryPlan* make_plan(Layer& layer, const LibraryProblem& problem);
  Choice choose(Layer& layer, const Conv2dShape& shape, int64_t batch, ConvPass pass);
  /// Returns the plan to run, or null if our kernel is to run.
  LibraryPlan* chosen_plan(const Conv2dShape& shape, int64_t batch, ConvPass pass, bool accumulate);
  void run_weight_grad(LibraryPlan& plan, const ConvWeightGrad& args,
                       const Conv2dShape& shape) const;
  void bias_grad(const ConvWeightGrad& args, const ActivationShape& dy_shape) const;
  std::optional<Timing> measure(LibraryPlan& plan, const LibraryProblem& problem) const;

  const Backend& native_;
  const Precision precision_;
  const ConvLibrary& library_;
  Chooser& chooser_;
  std::map<ShapeKey, Layer> layers_;
};

/// "bf16 forward 16x32x32 to 32x16x16, kernel 3x3, stride 2, padding 1, groups 1, batch 128".
std::string describe(const LibraryProblem& problem);

struct LibraryTables {
  Conv2dKernels conv2d;
  LinearKernels linear;
};
/// Tables over a LibraryConvolutions that lives as long as the process; the same one when called
/// again for the same precision with a chooser that measures, or with one that does not.
LibraryTables library_tables(const Backend& native, Precision precision, const ConvLibrary& library,
                             Chooser& chooser);

}  // namespace sculpt::kernels::cuda
