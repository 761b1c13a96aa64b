#!/usr/bin/env bash
# Ends the jobs and the daemons of start_slurm.sh FOLDER, by the process ids in FOLDER.
#
# usage: stop_slurm.sh FOLDER
set -uo pipefail
folder=$(cd "${1:?usage: stop_slurm.sh FOLDER}" && pwd) || exit 1
export SLURM_CONF="$folder/slurm.conf"

# slurmctld loses jobs that are pending when it ends, and a step would outlive slurmd.
if [[ -s $folder/slurmctld.pid ]]; then
  timeout 5 scancel --quiet --user=root --state=PENDING
  timeout 5 scancel --quiet --user=root --signal=KILL --full
  for _ in $(seq 50); do
    [[ -z $(timeout 5 squeue -h 2>/dev/null) ]] && break
    sleep 0.1
  done
fi
for file in slurmd.pid slurmctld.pid munge/munged.pid; do
  [[ -s $folder/$file ]] || continue
  pid=$(<"$folder/$file")
  kill -TERM "$pid" 2>/dev/null
  for _ in $(seq 100); do
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  kill -0 "$pid" 2>/dev/null && kill -KILL "$pid"
done
exit 0
