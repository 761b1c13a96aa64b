#!/usr/bin/env bash
# Starts Slurm with one node on this machine, for tests. Needs root, and the Debian packages slurm-wlm and munge.
#
# usage: start_slurm.sh FOLDER [CPUS]
#
# Everything lies in FOLDER: key, sockets, state, logs, process ids, slurm.conf. Use it with
# `export SLURM_CONF=FOLDER/slurm.conf`. stop_slurm.sh FOLDER ends it.
set -euo pipefail
folder=${1:?usage: start_slurm.sh FOLDER [CPUS]} cpus=${2:-4}
mkdir -p "$folder"/{state,spool,munge}
folder=$(cd "$folder" && pwd)
host=$(uname -n)
host=${host%%.*}
getent hosts "$host" >/dev/null || {
  echo "the host name '$host' does not resolve: add '127.0.0.1 $host' to /etc/hosts" >&2
  exit 1
}

# Several tests may run at a time.
read -r controller_port node_port < <(python3 -c '
import socket
held = [socket.socket() for _ in range(2)]
for one in held:
    one.bind(("127.0.0.1", 0))
print(*(one.getsockname()[1] for one in held))')

# --force accepts folders that are not owned by the user munge.
(umask 077 && dd if=/dev/urandom of="$folder/munge/munge.key" bs=128 count=1 status=none)
chmod 755 "$folder" "$folder/spool"
chmod 711 "$folder/munge"
munged --force --key-file="$folder/munge/munge.key" --socket="$folder/munge/socket" \
  --pid-file="$folder/munge/munged.pid" --log-file="$folder/munge/munged.log" \
  --seed-file="$folder/munge/seed" --num-threads=2

# There is no control group and no database. config_overrides makes Slurm believe in the processors and the memory
# that are given here.
cat >"$folder/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket
CredType=cred/munge
SlurmctldPort=$controller_port
SlurmdPort=$node_port
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/builtin
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0
MpiDefault=none
ReturnToService=2
SlurmctldTimeout=30
SlurmdTimeout=30
KillWait=30
MinJobAge=300
JobRequeue=1
SlurmdParameters=config_overrides
NodeName=$host NodeAddr=127.0.0.1 CPUs=$cpus Boards=1 SocketsPerBoard=1 CoresPerSocket=$cpus ThreadsPerCore=1 RealMemory=1000000 State=UNKNOWN
PartitionName=test Nodes=$host Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
CONF
export SLURM_CONF="$folder/slurm.conf"
slurmctld -f "$SLURM_CONF"
slurmd -f "$SLURM_CONF" -N "$host"
for _ in $(seq 150); do
  state=$(sinfo -h -o %T 2>/dev/null || true)
  [[ $state == idle ]] && exit 0
  sleep 0.1
done
echo "the node is '${state:-unknown}' and not idle" >&2
tail -n 5 "$folder"/slurm*.log >&2
exit 1
