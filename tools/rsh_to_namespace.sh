#!/bin/bash
# Stands in for ssh when Open MPI's mpirun starts its daemons on "hosts" that are network namespaces
# (mpirun --mca plm_rsh_agent THIS_FILE --host name0,name1). It drops the options of ssh, enters the namespace
# that is named like the host, takes the host's name, because Open MPI tells hosts apart by name, and runs the
# rest by the shell, as sshd would.
while [ $# -gt 0 ]; do
  case $1 in
    -x | -X | -q | -n | -f | -T) shift ;;
    -[opl]) shift 2 ;;
    *) break ;;
  esac
done
host=$1
shift
exec ip netns exec "$host" unshare --uts bash -c 'hostname "$0"; eval "exec $1"' "$host" "$*"
