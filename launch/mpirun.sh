#!/bin/sh
# mpirun.sh RANKS COMMAND…: mpirun on this one machine, also as root and with more
# ranks than cores. On a cluster use mpirun or srun directly (launch/README.md).
set -u
ranks=$1
shift
if [ "$(id -u)" = 0 ]; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
cores=$(nproc)
if [ "$ranks" -gt "$cores" ]; then
    # Ranks that wait must not hold a core that another rank needs.
    export OMPI_MCA_mpi_yield_when_idle=1
    set -- --oversubscribe --bind-to none "$@"
fi
exec mpirun -q --mca btl_vader_single_copy_mechanism none -n "$ranks" "$@"
