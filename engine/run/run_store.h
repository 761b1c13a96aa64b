#pragma once
// Writes and finds a run's checkpoints and records.

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/plan/plan.h"
#include "engine/run/checkpoint.h"
#include "engine/run/records.h"
#include "engine/run/run_folder.h"
#include "engine/run/run_lock.h"
#include "engine/run/run_state.h"
#include "kernels/tuning/chooser.h"

namespace sculpt {

class RunStore {
 public:
  /// With a lock, nothing is written once another process has taken the folder over.
  RunStore(RunFolder folder, std::string config_hash, RunLock* lock = nullptr)
      : folder_(std::move(folder)), config_hash_(std::move(config_hash)), lock_(lock) {}

  const RunFolder& folder() const { return folder_; }

  /// What the run reads: checkpoints record it, and restore() compares it with what they recorded.
  void set_inputs(RunInputs inputs) { inputs_ = std::move(inputs); }

  /// Restores the newest resumable checkpoint that is not damaged, and cuts the records back to it.
  /// Nothing if the folder holds no run yet. Damaged checkpoints and records are reported in
  /// `warnings`. Error if there are only damaged checkpoints, or none beside something that would
  /// be lost if the run started again; OtherInputs if the run was started on other inputs.
  std::optional<RunState> restore(ParameterArena& parameters, std::vector<std::string>& warnings);

  /// Throws Error that says what is missing or damaged if there is no resumable checkpoint that can
  /// be used, but something that would be lost if the run started again. Changes nothing.
  void require_resumable() const;

  /// The newest resumable checkpoint that is not damaged, and what it says; for messages.
  std::optional<std::pair<std::filesystem::path, RunState>> newest_good_state() const;

  /// The next resumable checkpoint; the one before is kept too, older ones are removed.
  void save(ParameterArena& parameters, RunState& state);
  void save_rewind(ParameterArena& parameters, int64_t epoch);
  /// Sets weights and batch-norm state; masks stay and are applied.
  void load_rewind(ParameterArena& parameters, int64_t epoch);

  /// Throws Error if a rewind that is still to come, seen from the newest good checkpoint, should
  /// find a file that is missing or damaged. Changes nothing.
  void check_rewinds(const Plan& plan) const;

  /// Writes kernel_choices.json if these choices are not in it yet. Called before save(), so that
  /// the file holds the choices of every state.
  void save_kernel_choices(const kernels::Choices& choices);
  void add_metrics(const EpochMetrics& metrics, RunState& state);
  void add_layers(const PruneReport& report, const LayerKernels& kernels, RunState& state);

  void add_prune(const PruneMetrics& metrics, RunState& state);

  /// final.safetensors (no wall-clock time in it), end.safetensors, then summary.json, then removal
  /// of the resumable checkpoints. `end` is the state after the last step of the plan; `result` is
  /// the state that the summary tells of, which may have been evaluated once more.
  void finish(ParameterArena& parameters, const RunState& end, const RunState& result,
              const RunIdentity& identity, const RunCost& cost);

  /// Has this run (and not a shorter one, before it was extended) left its final checkpoint and its
  /// end state? They remain where a summary.json was lost.
  bool has_ended() const;
  /// Writes summary.json again from the end state.
  void restore_summary();
  /// Throws Error, with what to do, if summary.json or the final checkpoint of a finished run is
  /// damaged.
  RunSummary check_result() const;
  /// Checks the final checkpoint of a run whose summary.json was lost; restore_summary() can write
  /// the summary again.
  void check_final_checkpoint() const;

  /// Throws Error that says why if the finished run in the folder cannot be extended to the plan.
  /// `done` is its plan; `done_hash` the hash of its config.
  void require_extensible(const Plan& done, const std::string& done_hash, const Plan& longer) const;
  /// Turns the finished run into an unfinished one under the config of this store, with a resumable
  /// checkpoint at its end. The results of the shorter run are kept in a folder, which is returned.
  /// After a kill the folder is as it was.
  std::filesystem::path extend(ParameterArena& parameters, const std::string& done_hash,
                               const std::string& config_toml);

 private:
  void require_held() const;
  safetensors::Metadata base_metadata(std::string_view format) const;
  safetensors::Metadata state_metadata(const RunState& state) const;
  safetensors::File read(const std::filesystem::path& path, std::string_view format,
                         const std::vector<std::string>& hashes) const;
  safetensors::File read_final() const;
  [[noreturn]] void fail_without_good_state(const std::string& reason) const;
  /// `extended`: hashes of the shorter runs whose checkpoints are good, too.
  safetensors::File read_rewind(int64_t epoch, const std::vector<std::string>& extended) const;
  void cut_records(RunState& state, std::vector<std::string>& warnings) const;

  RunFolder folder_;
  std::string config_hash_;
  RunLock* lock_;
  RunInputs inputs_;
  kernels::Choices saved_choices_;
  /// Of the shorter runs that this one extends, whose rewind checkpoints it uses.
  std::vector<std::string> extended_hashes_;
};

/// Starts a folder anew: the run in it is put aside (earlier_run.h), and the config is the given
/// one. Returns where the old run is kept. After a kill the folder is as it was, or new.
std::filesystem::path restart(const RunFolder& folder, const std::string& config_toml);

}  // namespace sculpt
