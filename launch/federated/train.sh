#!/bin/sh
# train.sh SITES RECIPE [OPTION…]: a federated run between the hosts of a list, one rank on each,
# the first the coordinator. To be started there; it needs ssh to the others and the same version
# of Cohort on each. COHORT names the program, COHORT_NETWORK the network or device to talk over
# (10.8.0.0/24, eth0), where hosts have several, COHORT_DATASETS the folder of the data on every
# host. MPIRUN_OPTIONS are handed to mpirun.
#
#   launch/federated/train.sh launch/federated/sites launch/federated/deploy.yaml --run runs/deploy
#
# `cohort launch` lets the others go on when a client dies, and ends with the run's own exit code
# (0 finished, 5 fewer than min_clients, 75 stopped). What protects whom: README.md here.
set -u
if [ $# -lt 2 ]; then
    echo "usage: train.sh SITES RECIPE [OPTION of cohort train]…" >&2
    exit 2
fi
sites=$1
shift
[ -r "$sites" ] || {
    echo "train.sh: $sites cannot be read: a list of hosts as in launch/federated/sites" >&2
    exit 2
}
count=$(grep -c '^[[:space:]]*[^#[:space:]]' "$sites")
network=${COHORT_NETWORK:+--mca btl_tcp_if_include $COHORT_NETWORK --mca oob_tcp_if_include $COHORT_NETWORK}
# shellcheck disable=SC2086 # several options, or none
exec "${COHORT:-cohort}" launch mpirun --hostfile "$sites" --map-by node -n "$count" \
    --bind-to none ${COHORT_DATASETS:+-x COHORT_DATASETS} --mca btl self,tcp $network ${MPIRUN_OPTIONS-} "${COHORT:-cohort}" train "$@"
