#!/bin/sh
# mpirun.sh RANKS COMMAND…: mpirun on this one machine, one core a rank; also as root, with
# more ranks than cores, in a container. On a cluster use mpirun or srun directly
# (launch/README.md).
set -u
if [ $# -lt 2 ] || ! [ "$1" -ge 1 ] 2>/dev/null; then
    echo "usage: mpirun.sh RANKS COMMAND…" >&2
    exit 2
fi
ranks=$1
shift
if [ "$(id -u)" = 0 ]; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
if [ "$ranks" -gt "$(nproc)" ]; then
    # Ranks that wait must not hold a core that another rank needs.
    export OMPI_MCA_mpi_yield_when_idle=1
    set -- --bind-to none "$@"
else
    # Two hardware threads of a core count as two here, as in nproc.
    set -- --bind-to core:overload-allowed "$@"
fi
exec mpirun -q --oversubscribe --mca btl_vader_single_copy_mechanism none -n "$ranks" "$@"
