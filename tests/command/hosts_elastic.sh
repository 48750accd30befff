#!/bin/sh
# train.elastic over several hosts (network namespaces): a rank of another host is killed, rank 0
# is, the link of a host is cut, half of two hosts is lost: the others go on and finish with the
# losses of one host. Without it a cut link among four ends in exit code 5 and one line.
# shellcheck source=tests/command/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/command/faults.sh
. "$SOURCE/tests/command/faults.sh"
# shellcheck source=tests/command/host_network.sh
. "$SOURCE/tests/command/host_network.sh"
obstacle=$(hosts_obstacle)
[ -z "$obstacle" ] || skip "$obstacle"
# shellcheck disable=SC2317 # called by a trap
leave() {
    hosts_stop
    rm -rf "$work"
}

works 1 convert digits --train 400 --test 50 --size 14 --output digits.h5
cat >net.yaml <<'YAML'
name: net
data: {file: digits.h5, scale: 0.004, validation: 0.1}
model:
  - conv2d: {filters: 8, kernel: 3, activation: tanh}
  - average_pool2d
  - flatten
  - dense: {units: 10}
loss: cross_entropy
optimizer: {type: adam, lr: 0.001}
train: {epochs: 8, global_batch_size: 20, threads: 1, log_every_steps: 1, elastic: true, tune: off}
comm: {timeout: 6}
YAML
works 1 train net.yaml --quiet --run one
losses one >one.losses
[ "$(wc -l <one.losses)" = 144 ] || wrong "$(wc -l <one.losses) steps"
hosts_start "$work/net" 4 200mbit || wrong 'no four hosts'
HOSTS_LAUNCHER="$COHORT launch"

# went_on LEFT "RANKS LOST" ALL: it finished by itself.
went_on() {
    wait $job
    got=$?
    [ $got = 0 ] || wrong "$folder: exit code $got: $(cat err)"
    grep -q "^cohort: warning: lost rank $2 on .*; $1 of $3 ranks go on from step" err ||
        wrong "$folder: $(cat err)"
    grep -v '^cohort: warning: ' err && wrong "$folder: noise: $(cat err)"
    losses "$folder" | cmp -s one.losses - ||
        wrong "$folder: $(losses "$folder" | diff one.losses - | head -n 4)"
    [ "$(metric "$folder/metrics.jsonl" end status)" = '"finished"' ] || wrong "$folder: not finished"
}

ranks_on() { # INDEX -> its processes that are ranks
    for process in $(ip netns pids "$hosts_name-$1"); do
        [ "$(cat "/proc/$process/comm" 2>/dev/null)" != cohort ] || echo "$process"
    done
}

# The ranks of a host that was cut off end by themselves. (Open MPI's daemon there waits for its
# connection to time out.)
left_alone() { # INDEX
    for _ in $(seq 300); do
        [ -n "$(ranks_on "$1")" ] || break
        sleep 0.1
    done
    [ -z "$(ranks_on "$1")" ] || wrong "ranks are left on $hosts_name-$1: $(ranks_on "$1")"
    for process in $(ip netns pids "$hosts_name-$1"); do
        kill -s KILL "$process"
    done
    hosts_mend "$1"
}

hosts_train other 1 40
kill -s KILL "$(process_of other 2)"
went_on 3 2 4
hosts_train first 1 40
kill -s KILL "$(process_of first 0)"
went_on 3 0 4
hosts_train cut 1 40
hosts_cut 3
went_on 3 2 4
left_alone 3

hosts_count=2
hosts_train half 2 40
hosts_cut 2
went_on 2 2 4
left_alone 2
hosts_count=4

start=$(date +%s)
hosts_train plain 1 40 --set train.elastic=false --set train.epochs=100000
hosts_cut 3
wait $job
got=$?
took=$(($(date +%s) - start))
[ $got = 5 ] || wrong "a cut link: exit code $got, not 5: $(cat err)"
[ $took -le 60 ] || wrong "a cut link: $took s with a limit of 6"
[ "$(grep -c '^cohort: ' err)" = 1 ] || wrong "a cut link: not one line: $(cat err)"
grep -q "^cohort: rank 2 on $hosts_name-3 (.*did not arrive at .* within 6 s: a host is down" err ||
    wrong "a cut link: $(cat err)"
left_alone 3
finish
