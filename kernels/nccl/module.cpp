// The function that libsculpt_nccl.so exports.

#include "kernels/collectives.h"
#include "kernels/common/check.h"
#include "kernels/nccl/communicator.h"
#include "kernels/nccl/settings.h"

namespace sculpt::kernels::nccl {
namespace {

std::string description() {
  pin_settings();
  return fmt::format("{}, {}", version(), describe_settings());
}

}  // namespace
}  // namespace sculpt::kernels::nccl

extern "C" const sculpt::kernels::Collectives* sculpt_collectives() {
  using namespace sculpt::kernels;
  static const Collectives collectives = {nccl::description, nccl::make_id,     nccl::connect,
                                          nccl::sum_floats,  nccl::sum_doubles, nccl::problem,
                                          nccl::abort,       nccl::close};
  return &collectives;
}
