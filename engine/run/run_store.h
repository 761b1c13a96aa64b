#pragma once
// Writes the checkpoints and records of a run, and finds those from which a run can go on.

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/plan/plan.h"
#include "engine/run/checkpoint.h"
#include "engine/run/record_file.h"
#include "engine/run/records.h"
#include "engine/run/run_folder.h"
#include "engine/run/run_lock.h"
#include "engine/run/run_state.h"
#include "kernels/tuning/chooser.h"

namespace sculpt {

class RunStore {
 public:
  /// A store that has a lock writes nothing once another process has taken the folder over.
  RunStore(RunFolder folder, std::string config_hash, RunLock* lock = nullptr)
      : folder_(std::move(folder)), config_hash_(std::move(config_hash)), lock_(lock) {}

  const RunFolder& folder() const { return folder_; }

  /// From now on, this store writes no files, and all other functions do what they did. On several
  /// ranks, rank 0 alone writes the files of the run.
  void write_nothing() { writes_ = false; }

  /// Sets what the run reads. Checkpoints record it, and restore() compares it with the recorded
  /// inputs.
  void set_inputs(RunInputs inputs) { inputs_ = std::move(inputs); }

  /// Throws Error naming the file if the folder holds records of a newer format. Changes nothing.
  void require_known_records() const;

  /// Restores the newest resumable checkpoint that is not damaged, and removes records that are
  /// newer than it. Returns nothing if the folder holds no run yet. Damaged checkpoints and records
  /// are reported in `warnings`. Throws Error if all checkpoints are damaged, or if there are none
  /// although the folder holds something that a new start would lose. Throws OtherInputs if the run
  /// was started on other inputs.
  std::optional<RunState> restore(ParameterArena& parameters, std::vector<std::string>& warnings);

  /// Throws Error that says what is missing or damaged if no resumable checkpoint can be used
  /// although the folder holds something that a new start would lose. Changes nothing.
  void require_resumable() const;

  /// Returns the path and state of the newest resumable checkpoint that is not damaged. Messages
  /// use it.
  std::optional<std::pair<std::filesystem::path, RunState>> newest_good_state() const;

  /// Writes the next resumable checkpoint. The checkpoint before it is kept, too; older ones are
  /// removed.
  void save(ParameterArena& parameters, RunState& state);
  void save_rewind(ParameterArena& parameters, int64_t epoch);
  /// Writes the checkpoint of the cycle that has just ended, state.cycle, and removes those of all
  /// but the last `kept` cycles. It contains no wall-clock time, so that a resumed run writes the
  /// same bytes again.
  void save_cycle(ParameterArena& parameters, const RunState& state, int64_t kept);
  /// Sets weights and batch-norm state from a rewind checkpoint. Masks stay and are applied.
  void load_rewind(ParameterArena& parameters, int64_t epoch);

  /// Throws Error if a rewind that the plan still contains after the newest good checkpoint needs a
  /// file that is missing or damaged. Changes nothing.
  void check_rewinds(const Plan& plan) const;

  /// Writes kernel_choices.json if these choices are not in it yet. Call this before save(), so
  /// that the file holds the choices of every saved state.
  void save_kernel_choices(const kernels::Choices& choices);
  void add_metrics(const EpochMetrics& metrics, RunState& state);
  void add_layers(const PruneReport& report, const LayerKernels& kernels, RunState& state);
  void add_layers(const MaskReport& report, const LayerKernels& kernels, RunState& state);

  void add_prune(const PruneMetrics& metrics, RunState& state);

  /// Writes final.safetensors (which contains no wall-clock time), end.safetensors and
  /// summary.json, in this order, and then removes the resumable checkpoints. `end` is the state
  /// after the last step of the plan; `result` is the state that the summary describes, which may
  /// have been evaluated once more.
  void finish(ParameterArena& parameters, const RunState& end, const RunState& result,
              const RunIdentity& identity, const RunCost& cost);

  /// Returns true if this run, and not a shorter one that it extends, has written its final
  /// checkpoint and its end state. Both stay if summary.json is lost.
  bool has_ended() const;
  /// Writes summary.json again from the end state.
  void restore_summary();
  /// Throws Error that says what to do if summary.json or the final checkpoint of a finished run is
  /// damaged.
  RunSummary check_result() const;
  /// Throws Error if the final checkpoint is damaged. For a run whose summary.json was lost;
  /// restore_summary() can then write the summary again.
  void check_final_checkpoint() const;

  /// Throws Error with the reason if the finished run in the folder cannot be extended to the plan
  /// `longer`. `done` is the plan of the finished run, and `done_hash` the hash of its config.
  void require_extensible(const Plan& done, const std::string& done_hash, const Plan& longer) const;
  /// Turns the finished run into an unfinished one under the config of this store, with a resumable
  /// checkpoint at the end of the shorter run. Keeps the results of the shorter run in another
  /// folder and returns that folder. After a kill, the folder is as it was before.
  std::filesystem::path extend(ParameterArena& parameters, const std::string& done_hash,
                               const std::string& config_toml);

 private:
  void require_held() const;
  safetensors::Metadata base_metadata(const FileFormat& format) const;
  safetensors::Metadata state_metadata(const RunState& state) const;
  safetensors::File read(const std::filesystem::path& path, const FileFormat& format,
                         const std::vector<std::string>& hashes) const;
  safetensors::File read_final() const;
  /// `newer` is true if a newer program wrote the state that `reason` is about.
  [[noreturn]] void fail_without_good_state(const std::string& reason, bool newer) const;
  /// `extended` holds the config hashes of shorter runs whose checkpoints are accepted, too.
  safetensors::File read_rewind(int64_t epoch, const std::vector<std::string>& extended) const;
  RecordFile metrics_file() const;
  RecordFile layers_file() const;
  RecordFile prunes_file() const;
  void cut_records(RunState& state, std::vector<std::string>& warnings) const;
  /// Returns the part of a message that says why a missing summary.json cannot be written again
  /// from the end state; "" if the end state is good or missing, too.
  std::string why_not_restorable() const;

  RunFolder folder_;
  std::string config_hash_;
  RunLock* lock_;
  bool writes_ = true;
  RunInputs inputs_;
  kernels::Choices saved_choices_;
  /// The config hashes of the shorter runs that this one extends and whose rewind checkpoints it
  /// uses.
  std::vector<std::string> extended_hashes_;
};

/// Starts a run folder again with the given config, and moves the old run aside (earlier_run.h).
/// Returns the folder of the old run. After a kill, the folder is either as it was before or new.
std::filesystem::path restart(const RunFolder& folder, const std::string& config_toml);

}  // namespace sculpt
