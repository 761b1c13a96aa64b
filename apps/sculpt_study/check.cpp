#include "apps/sculpt_study/check.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "apps/sculpt_run/inputs.h"
#include "apps/sculpt_run/plan_timing.h"
#include "apps/sculpt_run/preflight.h"
#include "apps/sculpt_run/request.h"
#include "apps/sculpt_run/setup.h"
#include "apps/sculpt_run/terminal.h"
#include "apps/sculpt_run/unused_settings.h"
#include "apps/sculpt_study/isolated.h"
#include "engine/core/name_list.h"

namespace sculpt {
namespace {

using Clock = std::chrono::steady_clock;
using Json = nlohmann::json;

// Each run takes some seconds to time. A study may have hundreds.
constexpr double kSecondsForTiming = 60;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Returns a text that is the same for runs that differ only in the seed and in the folders of the
/// runs that they need.
std::string kind_of(const ResolvedRun& run) {
  std::string kind;
  for (const auto& [key, value] : run.values)
    if (key != "seed" && (run.run.needs.empty() || key != "plan")) kind += key + "=" + value + "\n";
  return kind;
}

CommandLine plan_command(const ResolvedRun& run) {
  CommandLine line;
  line.config = run.run.base;
  line.settings = settings_of(run.run);
  line.out = run.folder.string();
  line.plan = true;
  return line;
}

/// The checks of a study before it starts also read its data sets, each of them once. A plan needs
/// no data.
class DataCheck {
 public:
  explicit DataCheck(bool wanted) : wanted_(wanted) {}

  void read(const ResolvedRun& run, const RunOptions& options) {
    std::string settings;
    for (const auto& [key, value] : run.values)
      if (key.starts_with("data.")) settings += key + "=" + value + "\n";
    if (wanted_ && read_.insert(settings).second) load_run_data(options, Images::real);
  }

 private:
  bool wanted_;
  std::set<std::string> read_;
};

/// Returns the warnings of a run. A base config is shared by runs of several methods, and some of
/// its settings concern only one of them: they give no warning.
std::vector<std::string> warnings_of(const ResolvedRun& run, const Request& request,
                                     Experiment& experiment, bool labels_known) {
  std::vector<UnusedSetting> unused = unused_settings(request.options, request.plan);
  std::erase_if(unused, [&](const UnusedSetting& setting) {
    return !run.run.settings.contains(setting.key);
  });
  std::vector<std::string> warnings = warning_of(unused);
  for (std::string& text : check_before_run(request, experiment, labels_known))
    warnings.push_back(std::move(text));
  return warnings;
}

/// Checks one run, and times it if `timing` is true.
Json check_run(const ResolvedRun& run, bool timing, DataCheck& data) {
  const auto start = Clock::now();
  const Request request = make_request(plan_command(run));
  require_ranks_fit(request.options, 1);
  prepare_process(request);
  const kernels::Device device = open(request);
  const PlannedExperiment planned = experiment_for_plan(request, device);
  Experiment& experiment = *planned.experiment;
  require_start(request, experiment.network());
  require_plan_files(request, experiment.network());
  const std::vector<std::string> warnings =
      warnings_of(run, request, experiment, planned.labels_known);
  data.read(run, request.options);
  const double setup = seconds_since(start);
  const CostSettings settings = cost_settings(request, experiment);
  const PlanCost cost = plan_cost(request.plan, experiment.network(), settings);
  double seconds = 0;
  if (timing) {
    const PlanTiming times = time_plan(experiment, request.options.train.optim, cost);
    for (size_t step = 0; step < cost.steps.size(); ++step)
      seconds += step_seconds(cost.steps[step], times.steps[step], settings.images,
                              experiment.test().size(), request.options.train.eval_every);
  }
  return {{"flops", cost.flops},  {"seconds", seconds},
          {"setup", setup},       {"images", settings.images},
          {"warnings", warnings}, {"gpu", device.name.starts_with("cuda")}};
}

/// Returns true if a run that `run` needs has not left its result yet, so that its files cannot be
/// read.
bool waits_for_files(const ResolvedRun& run, const std::vector<ResolvedRun>& all) {
  return std::ranges::any_of(run.run.needs, [&](int64_t number) {
    const auto found =
        std::ranges::find(all, number, [](const ResolvedRun& r) { return r.run.number; });
    return found == all.end() || !RunFolder(found->folder).finished();
  });
}

std::string check_all(const std::vector<ResolvedRun>& runs, bool timing) {
  const QuietThread quiet(true);
  DataCheck data(/*wanted=*/!timing);
  const auto start = Clock::now();
  Json checked = Json::object();
  checked["gpus"] = 0;
  std::map<std::string, Json> kinds;
  std::map<std::string, std::vector<std::string>> warned;  // text -> names of runs
  for (const ResolvedRun& run : runs) {
    if (waits_for_files(run, runs)) continue;
    const std::string kind = kind_of(run);
    auto found = kinds.find(kind);
    if (found == kinds.end()) {
      const bool times = timing && seconds_since(start) < kSecondsForTiming;
      try {
        found = kinds.emplace(kind, check_run(run, times, data)).first;
      } catch (const Error& error) {
        fail("run {}: {}", run.run.name, error.what());
      }
      if (found->second["gpu"].get<bool>()) checked["gpus"] = kernels::count_gpus();
    }
    for (const auto& text : found->second["warnings"])
      warned[text.get<std::string>()].push_back(run.run.name);
    checked["runs"].push_back(
        {{"number", run.run.number},
         {"flops", found->second["flops"]},
         {"seconds", found->second["seconds"]},
         {"besides", seconds_besides_steps(found->second["setup"], run.epochs)},
         {"images", found->second["images"]}});
  }
  for (const auto& [text, names] : warned)
    checked["warnings"].push_back(fmt::format("run {}: {}", first_names(names, 1), text));
  return checked.dump(-1, ' ', false, Json::error_handler_t::replace);
}

/// Gives runs that were not timed the time that their FLOPs take at the mean speed of the others.
void estimate_other_times(std::vector<RunCheck>& runs) {
  double seconds = 0, flops = 0;
  for (const RunCheck& run : runs)
    if (run.timed) seconds += run.seconds, flops += run.flops;
  for (RunCheck& run : runs)
    if (!run.timed && flops > 0) run.seconds = run.flops * seconds / flops;
}

}  // namespace

double seconds_besides_steps(double setup, int64_t epochs) {
  constexpr double kSecondsOfRun = 0.1, kSecondsOfEpoch = 0.04;
  return setup + kSecondsOfRun + kSecondsOfEpoch * static_cast<double>(epochs);
}

StudyCheck check_runs(const std::vector<ResolvedRun>& runs, bool timing) {
  const Json checked = Json::parse(in_other_process([&] { return check_all(runs, timing); }));
  StudyCheck check;
  check.gpus = checked.at("gpus").get<int>();
  if (checked.contains("warnings"))
    check.warnings = checked["warnings"].get<std::vector<std::string>>();
  if (checked.contains("runs"))
    for (const Json& run : checked["runs"])
      check.runs.push_back({run.at("number"), run.at("flops"), run.at("seconds"),
                            run.at("seconds").get<double>() > 0, run.at("images")});
  estimate_other_times(check.runs);
  if (timing)
    for (size_t run = 0; run < check.runs.size(); ++run)
      check.runs[run].seconds += checked["runs"][run].at("besides").get<double>();
  return check;
}

}  // namespace sculpt
