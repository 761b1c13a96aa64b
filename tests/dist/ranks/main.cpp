// Runs doctest on every rank of an mpirun, or on one rank without it.
#define DOCTEST_CONFIG_IMPLEMENT
#include <cstdio>
#include <doctest/doctest.h>

#include "engine/core/error.h"
#include "engine/dist/launch.h"
#include "engine/dist/open_communicator.h"
#include "tests/dist/ranks/ranks.h"

namespace {

std::unique_ptr<sculpt::Communicator> opened;

}  // namespace

sculpt::Communicator& sculpt::test::ranks() {
  return *opened;
}

int main(int argc, char** argv) {
  using namespace sculpt;
  // The usual limits: a busy machine is not an error.
  opened = open_communicator(find_launch(process_environment()), {});
  doctest::Context context(argc, argv);
  context.setOption("no-colors", true);  // mpirun gives its ranks a terminal
  if (!opened->is_root()) context.setOption("minimal", true);
  if (opened->is_root()) std::printf("%s\n", opened->description().c_str());
  int64_t failed = context.run() == 0 ? 0 : 1;
  opened->all_reduce_sum(std::span(&failed, 1));
  opened->finish();
  return failed == 0 ? 0 : 1;
}
