#!/bin/sh
# Memory a rank takes, shared pages divided between those that use them (Pss).
#
#   tests/bench/memory.sh RANKS NAME COMMAND…
#
# Runs COMMAND and adds up, five times a second, the Pss of all processes of this machine called
# NAME (cohort, python3); prints the median and the largest sum, each divided by RANKS, in MB. The
# largest has the start and the last checkpoint in it, the median is that of training. Linux alone.
set -eu
if [ $# -lt 3 ] || ! [ "$1" -ge 1 ] 2>/dev/null; then
    sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
ranks=$1 name=$2
shift 2
"$@" >/dev/null &
job=$!
while kill -0 $job 2>/dev/null; do
    for process in $(pgrep -x "$name"); do
        cat "/proc/$process/smaps_rollup" 2>/dev/null || true
    done | awk -v ranks="$ranks" '/^Pss:/ { sum += $2 } END { if (sum) print sum / ranks / 1024 }'
    sleep 0.2
done | sort -g | awk '{ v[NR] = $1 } END { printf "median %.0f MB, largest %.0f MB a rank\n", v[int((NR + 1) / 2)], v[NR] }'
wait $job
