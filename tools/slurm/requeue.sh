# shellcheck shell=bash
# Functions for the job scripts of this folder, which source this file. They run one step, and put the job back into
# the queue if the step was asked to save and end (docs/cluster.md).
#
#   wait_for_lock RUN_FOLDER   waits until a lock that another host has left behind is old enough to be taken over
#   run_step RUN_FOLDER COMMAND...
#                              runs the command, which starts sculpt_run, and ends the job script with its exit code
#
# Environment: SCULPT_MOST_RESTARTS   a job is put back after a save until it has been restarted so often (default: 100)
#              SCULPT_MOST_ATTEMPTS   the same after a lost rank, which may be lost again (default: 10)

# Exit codes of sculpt_run: it was asked to save and end, or a rank was lost. srun ends with 137 if SIGKILL has ended a
# task. With one rank this is often the kernel that has run out of memory, which would happen again.
readonly SCULPT_INTERRUPTED=75 SCULPT_RANK_LOST=76 SCULPT_KILLED=137
# sculpt_run takes over the lock of another host after three minutes without a sign of life. Clocks may differ.
readonly SCULPT_LOCK_SECONDS=200

# No command substitution stands where traps are set: bash 5.2 cannot parse a trap while it reads a substitution.
sculpt_say() { printf '== %(%FT%T)T job %s: %s\n' -1 "${sculpt_job:-}" "$*"; }

# An element of an array is named by the array and its number. The id of the array alone would put back all elements.
if [[ -n ${SLURM_ARRAY_JOB_ID:-} ]]; then
  sculpt_job=${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}
else
  sculpt_job=${SLURM_JOB_ID:?this script is for sbatch: SLURM_JOB_ID is not set}
fi
sculpt_restarts=${SLURM_RESTART_COUNT:-0}

wait_for_lock() {
  local lock=$1/run.lock touched told=no
  # On the same host sculpt_run sees at once whether the process of the lock is alive.
  while [[ -e $lock ]] && ! grep -qF "\"$(uname -n)\"" "$lock"; do
    touched=$(stat -c %Y "$lock" 2>/dev/null) || break
    (($(date +%s) - touched < SCULPT_LOCK_SECONDS)) || break
    [[ $told == yes ]] || sculpt_say "waiting until the lock of another host is old enough: $(tr -d '\n' <"$lock")"
    told=yes
    sleep 5
  done
}

# The shell runs a trap only between commands. The step therefore runs in the background, and the shell waits for it.
run_step() {
  local folder=$1 step code woken=no told_to_end=no
  shift
  # Slurm sends SIGTERM to the shell and to the step when a job is cancelled or has reached its time limit, and before
  # it puts a job back itself. The step saves; the decision about the job has been made.
  trap 'woken=yes told_to_end=yes' TERM
  # `scancel --batch` and `--signal=B:USR2@300` signal the shell only. srun passes the signal on.
  trap 'woken=yes; kill -USR2 "$step"' USR2
  sculpt_say "restart $sculpt_restarts on ${SLURM_JOB_NODELIST:-this host}: $*"
  "$@" &
  step=$!
  while :; do
    woken=no
    code=0
    wait "$step" || code=$?
    [[ $woken == yes ]] || break
  done
  trap - USR2
  # srun of Slurm 22.05 ends with 0 if it could not start the tasks ("aborted before step completely launched").
  if [[ $code == 0 && ! -e $folder/summary.json ]]; then
    sculpt_say "srun has ended with exit code 0, but the run has not finished: the step was not started"
    code=$SCULPT_RANK_LOST
  fi
  local most=0
  if [[ $code == "$SCULPT_INTERRUPTED" ]]; then
    most=${SCULPT_MOST_RESTARTS:-100}
  elif [[ $code == "$SCULPT_RANK_LOST" ]] || { [[ $code == "$SCULPT_KILLED" ]] && ((${SLURM_NTASKS:-1} > 1)); }; then
    most=${SCULPT_MOST_ATTEMPTS:-10}
  fi
  if [[ $code == 0 ]]; then
    sculpt_say "finished"
  elif ((most == 0)); then
    sculpt_say "failed: the step has ended with exit code $code"
  elif [[ $told_to_end == yes ]]; then
    sculpt_say "the step has ended with exit code $code, because Slurm ends the job; it is not put back here"
  elif ((sculpt_restarts >= most)); then
    sculpt_say "the step has ended with exit code $code; the job is not put back after $sculpt_restarts restarts"
  else
    sculpt_say "the step has ended with exit code $code; the job goes back into the queue"
    # Slurm ends this script as soon as it has put the job back.
    scontrol requeue "$sculpt_job" || sculpt_say "scontrol could not put the job back; submit the script again"
  fi
  exit "$code"
}
