// sculpt_bench times training steps. `profile` prints how a step's time divides on the CPU;
// `kernels` times each kernel separately, on any device; `floors` prints what the kernels of a GPU
// must move and compute; `sparse` compares steps of masked networks on kernels that skip masked
// weights and on dense kernels; `choices` compares kernels chosen by timing and by the rule; `rule`
// measures the densities behind the rule; `hessian` compares products with the Hessian with steps;
// `conv` compares Winograd convolutions with direct ones; `serve` runs steps on request, so that
// tools/bench_pytorch.py and tools/bench_sparse.py can alternate them with steps of other engines.

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <vector>

#include "apps/common/failure_text.h"
#include "apps/common/option_errors.h"
#include "apps/sculpt_bench/commands.h"
#include "kernels/common/parallel.h"

namespace sculpt::bench {
namespace {

int run(int argc, char** argv) {
  CLI::App app{"Times training steps of Sculpt's networks"};
  app.require_subcommand(1);
  app.fallthrough();  // lets the shared options stand after the subcommand's name, too
  SharedOptions shared;
  add_shared_options(app, shared);
  const std::vector<Command> commands = add_commands(app, shared);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {  // the user asked for --help
    return app.exit(success);
  } catch (const CLI::ParseError& error) {
    fmt::print(stderr, "error: {}\n", option_error_line(app, error, "sculpt_bench"));
    return 2;
  }

  if (shared.threads > 0) set_thread_count(shared.threads);
  for (const Command& command : commands)
    if (*command.parser) command.run();
  return 0;
}

}  // namespace
}  // namespace sculpt::bench

int main(int argc, char** argv) {
  try {
    return sculpt::bench::run(argc, argv);
  } catch (const std::exception& e) {
    fmt::print(stderr, "error: {}\n", sculpt::failure_text(e));
    return 1;
  }
}
