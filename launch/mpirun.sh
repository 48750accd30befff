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
# nproc would take OMP_NUM_THREADS for the number of cores.
if [ "$ranks" -gt "$(env -u OMP_NUM_THREADS nproc)" ]; then
    # Ranks that wait must not hold a core that another rank needs.
    export OMPI_MCA_mpi_yield_when_idle=1
fi

# However Open MPI counts cores and hardware threads: every rank gets one, shared if need be.
options="--oversubscribe --bind-to core:overload-allowed --mca btl_vader_single_copy_mechanism none"
# cohort itself sees to signals, exit codes and restarts.
# shellcheck disable=SC2086 # several words
[ "${1##*/}" != cohort ] || exec "$1" launch mpirun $options -n "$ranks" "$@"

# mpirun ends a job that is told to stop after one second, and with exit code 1; SIGUSR1 it
# hands on. So mpirun stands apart from the terminal, and this script passes on the word: a
# run then ends after a checkpoint, with its own exit code. A second signal is mpirun's.
apart=''
if command -v setsid >/dev/null && command -v setpriv >/dev/null; then
    apart='setpriv --pdeathsig TERM setsid'
fi
# shellcheck disable=SC2086 # several words, or none
$apart mpirun -q $options -n "$ranks" "$@" <&0 &
job=$!
word=USR1
# shellcheck disable=SC2317 # called by the trap
stop() {
    kill -s "$word" "$job" 2>/dev/null
    word=TERM
}
trap stop HUP INT TERM USR1 USR2
wait "$job"
code=$?
# A signal ends `wait`, not the job.
while kill -0 "$job" 2>/dev/null; do
    wait "$job"
    code=$?
done
exit $code
