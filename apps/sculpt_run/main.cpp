// sculpt_run trains a network by the plan of steps (prune, rewind, train ...) that a config
// defines.

#include <algorithm>
#include <exception>

#include "apps/common/failure_text.h"
#include "apps/sculpt_run/command_line.h"
#include "apps/sculpt_run/exit_code.h"
#include "apps/sculpt_run/inputs.h"
#include "apps/sculpt_run/interrupt.h"
#include "apps/sculpt_run/launcher.h"
#include "apps/sculpt_run/preflight.h"
#include "apps/sculpt_run/request.h"
#include "apps/sculpt_run/setup.h"
#include "apps/sculpt_run/show.h"
#include "apps/sculpt_run/table.h"
#include "apps/sculpt_run/terminal.h"
#include "apps/sculpt_run/training.h"
#include "apps/sculpt_run/unused_settings.h"
#include "apps/sculpt_run/version.h"
#include "engine/core/error.h"
#include "engine/core/phase.h"
#include "engine/dist/open_communicator.h"
#include "engine/dist/place.h"
#include "engine/dist/single.h"

namespace sculpt {
namespace {

void show_planned(const Request& request, const kernels::Device& device, const CommandLine& line) {
  const PlannedExperiment planned = [&] {
    try {
      PlannedExperiment made = experiment_for_plan(request, device);
      if (line.plan) {
        require_start(request, made.experiment->network());
        require_plan_files(request, made.experiment->network());
        const auto warnings = check_before_run(request, *made.experiment, made.labels_known);
        for (const auto& text : warning_of(unused_settings(request.options, request.plan)))
          warn(text);
        for (const auto& text : warnings)
          warn(text);
      }
      return made;
    } catch (const Error& error) {
      throw UsageError(error.what());
    }
  }();
  if (line.describe) show_network(*planned.experiment, request.options);
  if (!line.plan) return;
  show_plan(*planned.experiment, request.options, request.plan,
            cost_settings(request, *planned.experiment));
  say("{}", planned.note);
}

/// Does what --help-config, --plan, --describe and --version ask for, which is only to print.
/// `ranks` is the number of ranks that the run would have.
void show(const CommandLine& line, int ranks) {
  if (line.version) return out().print(version_text());
  if (!line.help_config.empty()) {
    RunOptions defaults;
    const bool markdown = line.help_config == "markdown";
    return out().print(markdown
                           ? config_page()
                           : wrap(describe_config_text(defaults.sections()), out().width(), 2));
  }
  const Request request = make_request(line);
  require_ranks_fit(request.options, ranks);
  prepare_process(request);
  const kernels::Device device = open(request);
  show_planned(request, device, line);
  if (ranks > 1) say("Times and memory are those of one process, not of a rank of {}.\n", ranks);
}

constexpr const char* kRecordsAreKept = "the run's records are in its folder";

int run_on_one_rank(const CommandLine& line) {
  try {
    return exit_code(train(line, one_rank()), kRecordsAreKept);
  } catch (const Interrupted&) {
    say("interrupted before anything was computed; the same command starts again\n");
    return kExitInterrupted;
  }
}

constexpr const char* kGoOn = "go on with --resume";

/// The exit code and the message of a program that `error` ends.
std::pair<int, std::string> failure(const std::exception& error) {
  const bool usage = dynamic_cast<const UsageError*>(&error) != nullptr ||
                     dynamic_cast<const OtherInputs*>(&error) != nullptr;
  return {usage ? kExitUsage : kExitFailed, failure_text(error, kGoOn)};
}

std::unique_ptr<Communicator> open_ranks(const CommandLine& line, const Launch& launch) try {
  return open_communicator(launch, dist_options(line));
} catch (const Error& error) {
  throw UsageError(error.what());
}

/// Runs the command on this rank of a job. The ranks end together.
int run_on_ranks(const CommandLine& line, const Launch& launch) {
  const std::unique_ptr<Communicator> ranks = open_ranks(line, launch);
  try {
    say("{}\n", ranks->description());
    const int code = exit_code(train(line, *ranks), kRecordsAreKept);
    ranks->finish();
    // A launcher ends all ranks as soon as one of them fails, so only rank 0 does.
    return ranks->is_root() ? code : kExitOk;
  } catch (const std::exception& error) {
    const auto [code, text] = failure(error);
    ranks->abort(code, text);
  }
}

Launch this_launch() try { return find_launch(process_environment()); } catch (const Error& error) {
  throw UsageError(error.what());
}

void require_ranks(const Launch& launch, int wanted) try {
  if (wanted > 0) require_size(launch, wanted);
} catch (const Error& error) {
  throw UsageError(error.what());
}

int main_checked(int argc, char** argv) {
  const Launch launch = this_launch();
  if (launch.size > 1) speak_as_rank(launch.rank, name_of(launch.rank, this_place()));
  CommandLine line;
  if (const auto code = parse_command_line(argc, argv, line)) return exit_code(*code, nullptr);
  const bool only_prints = line.version || !line.help_config.empty() || line.plan || line.describe;
  if (only_prints) {
    if (launch.rank == 0) show(line, std::max(line.ranks, launch.size));
    return exit_code(kExitOk, nullptr);
  }
  if (line.ranks > 1 && may_start_ranks(launch))
    return run_ranks(argc, argv, line.ranks, line.ranks_by);
  require_ranks(launch, line.ranks);
  if (const std::string problem = connection_problem(launch, process_environment());
      !problem.empty()) {
    if (launch.rank > 0) return kExitUsage;  // rank 0 says it for all
    throw UsageError(problem);
  }
  catch_interrupts(launch.rank > 0);
  return launch.size > 1 ? run_on_ranks(line, launch) : run_on_one_rank(line);
}

}  // namespace
}  // namespace sculpt

int main(int argc, char** argv) {
  try {
    return sculpt::main_checked(argc, argv);
  } catch (const std::exception& error) {
    const auto [code, text] = sculpt::failure(error);
    sculpt::say_error(text);
    return code;
  }
}
