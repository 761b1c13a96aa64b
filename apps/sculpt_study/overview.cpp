#include "apps/sculpt_study/overview.h"

#include <algorithm>
#include <queue>

#include "apps/sculpt_run/progress.h"
#include "apps/sculpt_run/table.h"
#include "apps/sculpt_run/terminal.h"
#include "apps/sculpt_study/prepare.h"

namespace sculpt {
namespace {

void print_table(const TextTable& table) {
  const size_t width = out().width();
  out().print(out().paint(Style::heading, table.heading(width)));
  out().print(table.body(width));
}

std::string axes_text(const StudyRun& run) {
  std::string text;
  for (const auto& [key, value] : run.axes)
    text += fmt::format("{}{}={}", text.empty() ? "" : " ", key, value);
  return text;
}

const RunCheck* find_check(const StudyCheck& check, int64_t number) {
  const auto found = std::ranges::find(check.runs, number, &RunCheck::number);
  return found == check.runs.end() ? nullptr : &*found;
}

}  // namespace

double makespan(const std::vector<double>& seconds, int jobs) {
  std::priority_queue<double, std::vector<double>, std::greater<>> free_at;
  for (int job = 0; job < jobs; ++job)
    free_at.push(0);
  double last = 0;
  for (const double length : seconds) {
    const double end = free_at.top() + length;
    free_at.pop();
    free_at.push(end);
    last = std::max(last, end);
  }
  return last;
}

void print_list(const Study& study, const std::vector<ResolvedRun>& runs) {
  TextTable table(
      {{""}, {"run", false}, {"state", false}, {"settings", false, TextTable::Fit::wrap}});
  for (const ResolvedRun& run : runs)
    table.add({std::to_string(run.run.number), run.run.name, name_of(status_of(study, run).status),
               axes_text(run.run)});
  print_table(table);
}

void print_costs(const Study& study, const std::vector<ResolvedRun>& runs, const StudyCheck& check,
                 int jobs) {
  TextTable table({{""}, {"run", false}, {"state", false}, {"epochs"}, {"FLOPs"}, {"time"}});
  int64_t epochs = 0, unknown = 0, estimated = 0, finished = 0;
  double flops = 0, seconds = 0;
  std::vector<double> left;
  for (const ResolvedRun& run : runs) {
    const RunCheck* const cost = find_check(check, run.run.number);
    const StudyRunResult result = status_of(study, run);
    table.add({std::to_string(run.run.number), run.run.name, name_of(result.status),
               std::to_string(run.epochs), cost == nullptr ? "" : count_text(cost->flops),
               cost == nullptr ? "" : (cost->timed ? "" : "~") + duration_text(cost->seconds)});
    epochs += run.epochs;
    finished += result.finished() ? 1 : 0;
    if (cost == nullptr) {
      ++unknown;
      continue;
    }
    estimated += cost->timed ? 0 : 1;
    flops += cost->flops;
    seconds += cost->seconds;
    if (!result.finished()) left.push_back(cost->seconds);
  }
  table.add({"", "total", "", std::to_string(epochs), count_text(flops), duration_text(seconds)});
  print_table(table);
  const size_t width = out().width();
  say("\n{}\n",
      wrap(fmt::format(
               "{}, {} of them finished. With {} at a time, the rest takes about {}. Times "
               "come from a few steps on this machine with nothing else at work, and a constant "
               "for the start of a run and the files of each epoch; runs at the same time share "
               "the memory bandwidth.{}",
               counted(static_cast<int64_t>(runs.size()), "run"), finished, counted(jobs, "run"),
               duration_text(makespan(left, jobs)),
               study.analyses.empty() ? "" : " The analyses of the runs take further time."),
           width));
  if (estimated > 0)
    say("{}\n",
        wrap("Times with ~ are estimated from FLOPs, at the mean speed of the others.", width));
  if (unknown > 0)
    say("{}\n",
        wrap(fmt::format("{} without cost: a run that the plan loads from has not finished.",
                         counted(unknown, "run")),
             width));
}

}  // namespace sculpt
