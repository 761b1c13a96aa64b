#pragma once
// Plans of cuDNN and cuBLAS for the problems of kernels/device/library_interface.h.

#include <optional>

#include "kernels/cudnn/descriptor.h"
#include "kernels/device/library_interface.h"

namespace sculpt::kernels::cudnn {

using cuda::LibraryPlan;
using cuda::LibraryProblem;

/// Returns the GPU that plans are created for, as cuDNN describes it: the GPU of the handle.
Descriptor device_of(cudnnHandle_t handle);
/// The same for a GPU that need not be in this machine.
Descriptor device_from_json(const std::string& json);

/// An engine of cuDNN for one problem, with its workspace.
struct EnginePlan {
  Descriptor plan;
  size_t workspace_bytes;
};

/// Returns the first of cuDNN's proposed engines that adds deterministically and in float, and
/// multiplies as the precision says. If there is no such engine, `why_not` says why.
std::optional<EnginePlan> find_engine(const LibraryProblem& problem, const Descriptor& device,
                                      size_t workspace_limit, std::string& why_not);

/// Returns true if a convolution is a product of matrices: 1 x 1 windows that touch every pixel
/// once.
bool is_matrix_product(const Conv2dShape& shape);

std::unique_ptr<LibraryPlan> plan_convolution(const LibraryProblem& problem, size_t limit,
                                              std::string& why_not);
std::unique_ptr<LibraryPlan> plan_matrix_product(const LibraryProblem& problem, size_t limit,
                                                 std::string& why_not);

std::string cublas_version();

/// These functions create the libraries' handles on the current device.
void start_cudnn();
void start_cublas();

}  // namespace sculpt::kernels::cudnn
