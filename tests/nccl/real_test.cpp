// The real libnccl.so.2, as far as it works without a GPU: it is found, says its version, and its
// errors arrive with its own text.

#include <cstdlib>
#include <doctest/doctest.h>
#include <filesystem>

#include "kernels/collectives.h"
#include "kernels/common/check.h"

extern "C" const sculpt::kernels::Collectives* sculpt_collectives();

namespace {

using namespace sculpt;

bool has_driver() {
  return std::filesystem::exists("/dev/nvidiactl");
}

TEST_CASE("nccl: the library says its version and names groups of ranks") {
  const kernels::Collectives& nccl = *sculpt_collectives();
  const std::string text = nccl.description();
  CHECK(text.starts_with("NCCL 2."));
  const std::string id = nccl.make_id(), other = nccl.make_id();
  CHECK(id.size() == 128);
  CHECK(id != other);
}

TEST_CASE("nccl: settings that the user has given are kept, and others are fixed") {
  // The process has called NCCL before, which reads them once; this is about the text.
  setenv("NCCL_PROTO", "LL", 1);
  const std::string text = sculpt_collectives()->description();
  CHECK(
      text.ends_with("NCCL_ALGO=Ring, NCCL_PROTO=LL, NCCL_MIN_NCHANNELS=8, NCCL_MAX_NCHANNELS=8"));
}

TEST_CASE("nccl: connecting without a driver fails with NCCL's own text" *
          doctest::skip(has_driver())) {
  const kernels::Collectives& nccl = *sculpt_collectives();
  const std::string id = nccl.make_id();
  std::string text;
  try {
    nccl.connect(id, 0, 1, 20);
  } catch (const Error& error) {
    text = error.what();
  }
  CHECK(text.find("connecting the GPUs of the ranks: NCCL says 'unhandled cuda error") == 0);
  CHECK(text.find("CUDA driver version is insufficient") != std::string::npos);
  CHECK(nccl.abort(10));
  CHECK(nccl.problem() == "");
}

}  // namespace
