#!/bin/sh
# campaign.sh [RUNS [SEED [TALLY [JOBS]]]]: runs that are disturbed at random moments, 8 kinds in
# turn (tests/faults/README.md), JOBS at a time (1). Each must end within its deadline with the
# right exit code, and continuing it must give the losses of the undisturbed run. One line a run
# goes to the file TALLY (default: kept nowhere); those that are in it already, from a campaign
# that was stopped, are not done again. A summary goes to stdout; exit code 1 if anything was
# wrong. Needs what command tests need: COHORT, SOURCE; FAIL_WRITE is the library that fails a
# write. COHORT_FAULT_DEADLINE: seconds a run may take; COHORT_FAULT_KEEP: an existing folder
# for run folders that are not good. COHORT_FAULT_HOSTS=3: 8 other kinds, on so many hosts (network
# namespaces) with a rank each; needs root.
# shellcheck disable=SC2317 # functions called by name
RUNS=${1:-8} SEED=${2:-1} TALLY=${3:-} JOBS=${4:-1}
case $TALLY in '' | /*) ;; *) TALLY=$PWD/$TALLY ;; esac
# shellcheck source=tests/command/lib.sh
. "${SOURCE:?}/tests/command/lib.sh"
# shellcheck source=tests/command/faults.sh
. "$SOURCE/tests/command/faults.sh"
# shellcheck source=tests/command/host_network.sh
. "$SOURCE/tests/command/host_network.sh"
: "${FAIL_WRITE:?}"
HOSTS=${COHORT_FAULT_HOSTS:-0}
if [ "$HOSTS" = 0 ]; then
    KINDS='kill_one lose_one terminate_one stop_one lose_two fail_a_write damage_the_newest
        fill_the_disk'
else
    KINDS='cut_one lose_one blink stop_one lose_host kill_one kill_daemon kill_launcher'
    obstacle=$(hosts_obstacle)
    [ -z "$obstacle" ] || skip "$obstacle"
fi
DEADLINE=${COHORT_FAULT_DEADLINE:-240} # generous: machines are shared
HOSTS_LIMIT=$DEADLINE
run=$SOURCE/launch/mpirun.sh
campaign=$$
[ -n "$TALLY" ] || TALLY=$work/tally
if [ -s "$TALLY" ] && [ "$(head -n 1 "$TALLY")" != "# seed $SEED" ]; then
    echo "$TALLY is of another seed: $(head -n 1 "$TALLY")"
    exit 2
fi
[ -s "$TALLY" ] || echo "# seed $SEED" >"$TALLY"
# shellcheck disable=SC2317 # called by a trap
leave() {
    for disk in "$work"/*/disk; do
        umount "$disk" 2>/dev/null
    done
    rm -rf "$work"
}

"$COHORT" convert digits --train 400 --test 100 --size 14 --output digits.h5 >/dev/null || exit 1
cat >net.yaml <<'YAML'
name: net
data: {file: digits.h5, scale: 0.004, validation: 0.1}
model:
  - conv2d: {filters: 16, kernel: 3, activation: tanh}
  - average_pool2d
  - flatten
  - dropout: {rate: 0.1}
  - dense: {units: 10}
loss: cross_entropy
optimizer: {type: adam, lr: 0.001}
# Ways measured on a busy machine may differ from run to run, and with them last bits: tune off.
train: {epochs: 20, global_batch_size: 20, log_every_steps: 1, threads: 1, tune: off}
checkpoint: {every_epochs: 1, every_steps: 7, keep: 2}
comm: {timeout: 6}
YAML
began=$(date +%s)
timeout "$DEADLINE" "$run" 4 "$COHORT" train net.yaml --run whole --quiet >out 2>err ||
    wrong "the undisturbed run: $(cat err)"
span=$(($(date +%s) - began + 1))
losses whole >whole.losses

# Seeded numbers: draw N gives one from 0 to N - 1 into `drawn`. Every run has its own, whatever
# runs before or beside it.
seed_run() { # NUMBER
    state=$(((SEED * 7919 + $1 * 104729) % 2147483648))
    draw 2
    draw 2
}
draw() {
    state=$(((state * 1103515245 + 12345) % 2147483648))
    drawn=$((state / 65536 % $1))
}

# Starts `cohort train net.yaml --run r$i` on $ranks ranks in the background as $job.
begin() { # OPTION…
    if [ "$HOSTS" != 0 ]; then
        HOSTS_LAUNCHER="$COHORT launch" hosts_run 1 "$COHORT" train ../net.yaml --run "$folder" \
            --quiet "$@" >out 2>err &
        job=$!
        return
    fi
    timeout -s KILL "$DEADLINE" "$run" "$ranks" "$COHORT" train ../net.yaml --run "$folder" --quiet \
        "$@" >out 2>err &
    job=$!
}

# Nothing of a run that hung may be about when the next ones start.
clear_away() {
    for left in $(seq "$HOSTS"); do
        for process in $(ip netns pids "$hosts_name-$left"); do
            kill -s KILL "$process"
        done
    done
    for left in 0 1 2 3; do
        for process in $(process_of "$folder" "$left"); do
            kill -s KILL "$process"
        done
    done
}

# What the run is at by its records, into `phase`.
read_phase() {
    phase=$(tail -n 1 "$folder/metrics.jsonl" 2>/dev/null |
        sed -n 's/.*"event":"\([a-z]*\)".*/\1/p')
    [ -n "$phase" ] || phase=start-up
    kill -0 "$job" 2>/dev/null || phase=over
}

hundredths() { # NUMBER
    sleep "$(awk "BEGIN { print $1 / 100 }")"
}

# Sends SIGNAL to RANK, $delay hundredths of a second after the start or as soon as it is there.
strike() { # SIGNAL RANK
    hundredths "$delay"
    victim=''
    for _ in $(seq 2000); do
        victim=$(process_of "$folder" "$2")
        if [ -n "$victim" ] || ! kill -0 "$job" 2>/dev/null; then break; fi
        sleep 0.02
    done
    read_phase
    # shellcheck disable=SC2086 # one, or none when it is over
    [ -z "$victim" ] || kill -s "$1" $victim 2>/dev/null || phase=over
    [ -n "$victim" ] || phase=over
}

# code_is CODE…: the job ended with one of them.
code_is() {
    wait "$job"
    code=$?
    for allowed in "$@"; do
        [ "$code" != "$allowed" ] || return 0
    done
    verdict=CODE
    case $code in 124 | 137) verdict=HANG ;; esac
    clear_away
    wrong "run $i ($kind, rank $rank, $delay, $phase): exit code $code, not $*: $(cat err)"
}

# Until it is finished, then the losses. With its only checkpoint damaged there is nothing to
# continue from: that is said, and the run begun anew.
continue_it() { # OPTION…
    timeout -s KILL "$DEADLINE" "$run" 2 "$COHORT" train ../net.yaml --run "$folder" --quiet "$@" \
        >out 2>err.more
    got=$?
    if [ "$got" = 3 ] && [ "$kind" = damage_the_newest ] &&
        grep -q 'none of its 1 checkpoints is whole' err.more; then
        phase=$phase+only-one
        timeout -s KILL "$DEADLINE" "$run" 2 "$COHORT" train ../net.yaml --run "$folder" --quiet \
            --fresh >out 2>err.more
        got=$?
    fi
    if [ "$got" != 0 ] && ! { [ "$got" = 2 ] && grep -q 'is finished' err.more; }; then
        [ "$verdict" != good ] || verdict=CONTINUED-$got
        wrong "run $i ($kind, $phase): continuing: exit code $got: $(cat err.more)"
    fi
    if ! losses "$folder" | cmp -s ../whole.losses -; then
        [ "$verdict" != good ] || verdict=LOSSES
        wrong "run $i ($kind, $phase): $(losses "$folder" | diff ../whole.losses - | head -n 8)"
    fi
}

flip_a_byte() { # FILE
    size=$(stat -c %s "$1")
    draw "$size"
    byte=$(od -An -tu1 -j "$drawn" -N 1 "$1")
    # shellcheck disable=SC2059 # an octal escape
    printf "\\$(printf %o $(((byte + 1) % 256)))" |
        dd of="$1" bs=1 seek="$drawn" conv=notrunc 2>/dev/null
}

kill_one() {
    begin
    strike KILL "$rank"
    if [ "$phase" = over ]; then code_is 0; else code_is 5 0; fi
    continue_it
}

terminate_one() {
    begin
    strike TERM "$rank"
    # Before it catches signals a process simply dies of them.
    if [ "$phase" = start-up ]; then code_is 75 5; else code_is 75 0; fi
    continue_it
}

stop_one() {
    begin
    strike STOP "$rank"
    if [ "$phase" = over ]; then code_is 0; else code_is 5 0; fi
    continue_it
}

fail_a_write() {
    phase="write $((delay / 4 + 1))"
    COHORT_FAULT_WRITE=$((delay / 4 + 1)) LD_PRELOAD=$FAIL_WRITE
    export COHORT_FAULT_WRITE LD_PRELOAD
    begin
    code_is 3 0
    unset COHORT_FAULT_WRITE LD_PRELOAD
    continue_it
}

fill_the_disk() {
    draw 300
    phase="$((drawn + 60)) KiB"
    if ! mount -t tmpfs -o size=$((drawn + 60))k cohort-faults disk 2>/dev/null; then
        verdict=skipped
        return
    fi
    folder=disk/$folder
    begin
    code_is 3 0
    mount -o remount,size=64m disk
    continue_it
    umount disk
}

damage_the_newest() {
    begin
    strike KILL "$rank"
    code_is 5 0
    if [ -s "$folder/checkpoints/last.h5" ]; then flip_a_byte "$folder/checkpoints/last.h5"; fi
    continue_it
}

lose_one() {
    [ "$HOSTS" != 0 ] || ranks=4
    begin --set train.elastic=true
    strike KILL "$rank"
    if [ "$phase" = start-up ]; then code_is 0 5; else code_is 0; fi
    continue_it --set train.elastic=true
}

lose_two() {
    ranks=4
    begin --set train.elastic=true
    strike KILL "$rank"
    first=$phase
    draw 60
    delay=$drawn
    strike KILL $(((rank + 1 + delay % 3) % 4))
    phase=$first+$phase
    # A rank lost while the others regroup: cohort launch starts again by itself.
    if [ "$first" = start-up ]; then code_is 0 5; else code_is 0; fi
    ! grep -q 'while the others regrouped' err || phase=$phase+regrouping
    continue_it --set train.elastic=true
}

# The processes called NAME on host NUMBER.
on_host() { # NUMBER NAME
    for process in $(ip netns pids "$hosts_name-$1" 2>/dev/null); do
        [ "$(cat "/proc/$process/comm" 2>/dev/null)" != "$2" ] || echo "$process"
    done
}

# The ranks end by themselves on every host. A daemon of Open MPI's that was cut off waits for its
# connection to time out.
all_end() {
    for _ in $(seq 600); do
        left=''
        for number in $(seq "$HOSTS"); do
            left=$left$(on_host "$number" cohort)
        done
        [ -n "$left" ] || break
        sleep 0.1
    done
    if [ -n "$left" ]; then
        verdict=LEFT
        wrong "run $i ($kind, rank $rank, $delay, $phase): ranks are left"
    fi
    clear_away
}

# What the launcher says before its daemons have found each other is its own: 1.
start_up_may_fail() {
    [ "$phase" != start-up ] || echo 1 5
}

# shellcheck disable=SC2046 # exit codes
cut_one() {
    begin
    hundredths "$delay"
    read_phase
    hosts_cut $((rank + 1))
    code_is 5 0 $(start_up_may_fail)
    all_end
    hosts_mend $((rank + 1))
    continue_it
}

# Rank 0's host is the launcher's, too: without it the others go on to the end, unseen.
# shellcheck disable=SC2046 # exit codes
lose_host() {
    begin --set train.elastic=true
    hundredths "$delay"
    read_phase
    hosts_cut $((rank + 1))
    if [ "$rank" = 0 ]; then code_is 5 0 $(start_up_may_fail); else code_is 0 $(start_up_may_fail); fi
    all_end
    hosts_mend $((rank + 1))
    continue_it --set train.elastic=true
}

# Up to two seconds without a link are nothing, with or without train.elastic.
# shellcheck disable=SC2046 # exit codes
blink() {
    draw 2
    elastic=$drawn
    begin --set "train.elastic=$([ "$elastic" = 0 ] && echo false || echo true)"
    hundredths "$delay"
    read_phase
    draw 200
    hosts_cut $((rank + 1))
    hundredths "$drawn"
    hosts_mend $((rank + 1))
    code_is 0 $(start_up_may_fail)
    all_end
    continue_it
}

# Open MPI's daemon of another host than the launcher's.
kill_daemon() {
    begin
    hundredths "$delay"
    read_phase
    for process in $(on_host $((rank % (HOSTS - 1) + 2)) orted); do
        kill -s KILL "$process"
    done
    code_is 5 0 205 # the launcher's own
    all_end
    continue_it
}

kill_launcher() {
    begin
    hundredths "$delay"
    read_phase
    for process in $(on_host 1 mpirun); do
        kill -s KILL "$process"
    done
    code_is 5 0
    all_end
    continue_it
}

# One run, in the folder of its worker.
do_run() { # NUMBER
    i=$1
    seed_run "$i"
    # shellcheck disable=SC2086 # a list
    set -- $KINDS
    shift $(((i - 1) % 8))
    kind=$1 verdict=good folder=r$i.$campaign phase='' code=''
    draw 3
    ranks=$((drawn + 2))
    [ "$HOSTS" = 0 ] || ranks=$HOSTS
    draw "$ranks"
    rank=$drawn
    draw $((span * 100))
    delay=$drawn
    # Start-up is short: one in five is struck in the first second.
    draw 500
    [ "$drawn" -ge 100 ] || delay=$drawn
    $kind
    echo "$i $kind ranks=$ranks rank=$rank delay=$delay phase=$(echo "$phase" | tr ' ' _)" \
        "code=${code:--} $verdict" >>"$TALLY"
    case $verdict in
    good | skipped) ;;
    *) [ -z "${COHORT_FAULT_KEEP:-}" ] || cp -r "$folder" "$COHORT_FAULT_KEEP/run-$i" ;;
    esac
    rm -rf "$folder"*
}

# Runs WORKER, WORKER + JOBS, … that are not in the tally.
work_through() { # WORKER
    mkdir "worker-$1" "worker-$1/disk" && cd "worker-$1" || exit 1
    if [ "$HOSTS" != 0 ]; then
        trap hosts_stop EXIT
        hosts_name=host$$w$1
        hosts_start "$PWD/net" "$HOSTS" 200mbit || exit 1
    fi
    for number in $(seq "$1" "$JOBS" "$RUNS"); do
        grep -q "^$number " "$TALLY" || do_run "$number"
    done
}

workers=''
for worker in $(seq "$JOBS"); do
    # Its own shell; the trap that removes everything is not its to run.
    (trap - EXIT && work_through "$worker") &
    workers="$workers $!"
done
for worker in $workers; do
    wait "$worker" || wrong "a worker ended with code $?"
done

awk -v seed="$SEED" '
    /^#/ { next }
    { runs[$2]++; all++; verdicts[$NF]++; codes[$2 " " $(NF - 1)]++
      if ($NF == "good") good[$2]++ }
    END {
        for (kind in runs) {
            line = ""
            for (pair in codes) {
                split(pair, part, " ")
                if (part[1] == kind) line = line "  " part[2] ": " codes[pair]
            }
            printf "%-18s %3d runs, %3d good %s\n", kind, runs[kind], good[kind], line | "sort"
        }
        close("sort")
        printf "seed %s: %d runs", seed, all
        for (verdict in verdicts) printf ", %d %s", verdicts[verdict], verdict
        printf "\n"
    }' "$TALLY"
bad=$(grep -v '^#' "$TALLY" | grep -cv ' \(good\|skipped\)$')
[ "$bad" = 0 ] || wrong "$bad runs were not good"
[ "$(grep -cv '^#' "$TALLY")" -ge "$RUNS" ] || wrong "not all runs were done"
finish
