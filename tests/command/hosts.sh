#!/bin/sh
# Several hosts (network namespaces with a shaped link): the losses of one host; a link that is
# cut in mid-step or at the start, or a rank that is stopped, ends the job with exit code 5 and the
# name of the host.
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

works 1 convert digits --train 400 --test 50 --output digits.h5
cat >net.yaml <<'YAML'
name: net
data: {file: digits.h5, scale: 0.004}
model:
  - conv2d: {filters: 8, kernel: 3, activation: relu}
  - max_pool2d
  - flatten
  - dense: {units: 64, activation: relu}
  - dense: {units: 10}
loss: cross_entropy
optimizer: {type: adam, lr: 0.001}
train: {epochs: 2, global_batch_size: 20, threads: 1, log_every_steps: 1}
YAML

records() { # FOLDER -> what training and test gave
    grep -o '"event":"step",.*' "$1/metrics.jsonl"
    # Evaluation adds the ranks' sums in double precision, in their order.
    printf '%.12f\n' "$(metric "$1/metrics.jsonl" test loss)"
}
same_losses() { # NAME PER_HOST
    hosts_run "$2" "$COHORT" train net.yaml --quiet --run "$1" >out 2>err ||
        wrong "$1: exit code $?: $(cat err)"
    records "$1" >"$1.records"
    [ "$(wc -l <"$1.records")" = 41 ] || wrong "$1 has $(wc -l <"$1.records") records"
    cmp -s one.records "$1.records" || wrong "$1: $(diff one.records "$1.records" | head -n 4)"
}

works 1 train net.yaml --quiet --run one
records one >one.records

hosts_start "$work/net" 4 200mbit || wrong 'no four hosts'
same_losses four 1
grep -q '"ranks":4' four/metrics.jsonl || wrong 'not four ranks'
hosts_count=2
same_losses two 1
same_losses pairs 2

# begin FOLDER PER_HOST: training without an end, in which a rank waits for 4 seconds.
begin() {
    hosts_train "$1" "$2" 30 --set train.epochs=100000 --set comm.timeout=4
}
# ended PATTERN: with exit code 5 and one line of ours.
ended() {
    wait $job
    got=$?
    [ $got = 5 ] || wrong "$folder: exit code $got, not 5: $(cat err)"
    [ "$(grep -c '^cohort: ' err)" = 1 ] || wrong "$folder: not one line: $(cat err)"
    grep -q "^cohort: $1" err || wrong "$folder: $(cat err)"
}

# One of four ranks is stopped: another host names it, and no other.
begin stopped 2
kill -s STOP "$(process_of stopped 3)"
ended "rank 3 on $hosts_name-2 ([^)]*) did not arrive at .* within 4 s: stopped by a signal"

# cut PATTERN: the plug of host 2 is pulled, upon which the job ends, and says so.
cut() {
    start=$(date +%s)
    hosts_cut 2
    touch is_cut
    ended "$1"
    took=$(($(date +%s) - start))
    # The time limit, the time to ask the other host, that to let mpirun end by itself.
    [ $took -le 20 ] || wrong "a cut link: $took s with a limit of 4"
    # Nothing is left on the host that was cut off.
    for _ in $(seq 200); do
        [ -n "$(ip netns pids "$hosts_name-2")" ] || break
        sleep 0.1
    done
    [ -z "$(ip netns pids "$hosts_name-2")" ] || wrong "processes are left on $hosts_name-2"
}

# In a step. Rank 0 is on the first host, and mpirun, which must not wait for the daemon of the
# other.
begin cut 1
cut "rank 1 on $hosts_name-2 (.*did not arrive at .* within 4 s: a host is down"

# Before the ranks have found each other.
hosts_mend 2
rm is_cut
cat >late <<'SH'
#!/bin/sh
touch "started.$OMPI_COMM_WORLD_RANK"
until [ -e is_cut ]; do sleep 0.1; done
COHORT_START_TIMEOUT=4 exec "$@"
SH
chmod +x late
folder=never
hosts_run 1 ./late "$COHORT" train net.yaml --quiet --run $folder >out 2>err &
job=$!
for _ in $(seq 600); do
    [ -e started.0 ] && [ -e started.1 ] && break
    sleep 0.1
done
cut "start-up did not complete on rank 0 ($hosts_name-1) in time: a rank did not start"
hosts_count=4 # to be taken down
finish
