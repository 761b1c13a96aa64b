#pragma once
// Plans of cuDNN and cuBLAS for the problems of kernels/device/library_interface.h.

#include <optional>

#include "kernels/cudnn/descriptor.h"
#include "kernels/device/library_interface.h"

namespace sculpt::kernels::cudnn {

using cuda::LibraryPlan;
using cuda::LibraryProblem;

/// The GPU that plans are made for, as cuDNN describes it: that of the handle ...
Descriptor device_of(cudnnHandle_t handle);
/// ... or one that this machine need not have.
Descriptor device_from_json(const std::string& json);

/// An engine of cuDNN for one problem, with its workspace.
struct EnginePlan {
  Descriptor plan;
  size_t workspace_bytes;
};

/// cuDNN's first choice among its engines that add up deterministically, in float, and multiply as
/// the precision says. If there is none, says why not.
std::optional<EnginePlan> find_engine(const LibraryProblem& problem, const Descriptor& device,
                                      size_t workspace_limit, std::string& why_not);

/// Whether a convolution is a product of matrices: 1 x 1 windows that touch every pixel once.
bool is_matrix_product(const Conv2dShape& shape);

std::unique_ptr<LibraryPlan> plan_convolution(const LibraryProblem& problem, size_t limit,
                                              std::string& why_not);
std::unique_ptr<LibraryPlan> plan_matrix_product(const LibraryProblem& problem, size_t limit,
                                                 std::string& why_not);

std::string cublas_version();

/// Make the libraries' handles, on the current device.
void start_cudnn();
void start_cublas();

}  // namespace sculpt::kernels::cudnn
