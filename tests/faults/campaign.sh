#!/bin/sh
# campaign.sh [RUNS [SEED [TALLY]]]: runs that are disturbed at random moments, 8 kinds in turn
# (tests/faults/README.md). Each must end within its deadline with the right exit code, and
# continuing it must give the losses of the undisturbed run. One line a run goes to the file
# TALLY (default: kept nowhere), a summary to stdout; exit code 1 if anything was wrong.
# Needs what command tests need: COHORT, SOURCE; FAIL_WRITE is the library that fails a write.
# shellcheck disable=SC2317 # functions called by name
RUNS=${1:-8} SEED=${2:-1} TALLY=${3:-}
case $TALLY in '' | /*) ;; *) TALLY=$PWD/$TALLY ;; esac
# shellcheck source=tests/command/lib.sh
. "${SOURCE:?}/tests/command/lib.sh"
# shellcheck source=tests/command/faults.sh
. "$SOURCE/tests/command/faults.sh"
: "${FAIL_WRITE:?}"
DEADLINE=${COHORT_FAULT_DEADLINE:-120} # seconds, generous: machines are shared
run=$SOURCE/launch/mpirun.sh
mkdir disk
# shellcheck disable=SC2317 # called by a trap
leave() {
    umount "$work/disk" 2>/dev/null
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
train: {epochs: 25, global_batch_size: 20, log_every_steps: 1, threads: 1}
checkpoint: {every_epochs: 1, every_steps: 7, keep: 2}
comm: {timeout: 4}
YAML
began=$(date +%s)
timeout "$DEADLINE" "$run" 4 "$COHORT" train net.yaml --run whole --quiet >out 2>err ||
    wrong "the undisturbed run: $(cat err)"
span=$(($(date +%s) - began + 1))
losses whole >whole.losses

# Seeded numbers: draw N gives one from 0 to N - 1 into `drawn`.
state=$SEED
draw() {
    state=$(((state * 1103515245 + 12345) % 2147483648))
    drawn=$((state / 65536 % $1))
}

# Starts `cohort train net.yaml --run r$i` on $ranks ranks in the background as $job.
begin() { # OPTION…
    timeout -s KILL "$DEADLINE" "$run" "$ranks" "$COHORT" train net.yaml --run "$folder" --quiet \
        "$@" >out 2>err &
    job=$!
}

# Sends SIGNAL to RANK, $delay hundredths of a second after the start or as soon as it is there;
# `phase` is what the run was at by its records.
strike() { # SIGNAL RANK
    sleep "$(awk "BEGIN { print $delay / 100 }")"
    victim=''
    for _ in $(seq 2000); do
        victim=$(process_of "$folder" "$2")
        if [ -n "$victim" ] || ! kill -0 "$job" 2>/dev/null; then break; fi
        sleep 0.02
    done
    phase=$(tail -n 1 "$folder/metrics.jsonl" 2>/dev/null |
        sed -n 's/.*"event":"\([a-z]*\)".*/\1/p')
    [ -n "$phase" ] || phase=start-up
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
    verdict=wrong
    [ "$code" != 137 ] || verdict=HANG
    wrong "run $i ($kind, rank $rank, $delay, $phase): exit code $code, not $*: $(cat err)"
}

# Until it is finished, then the losses.
continue_it() { # OPTION…
    timeout -s KILL "$DEADLINE" "$run" 2 "$COHORT" train net.yaml --run "$folder" --quiet "$@" \
        >out 2>err.more
    got=$?
    if [ "$got" != 0 ] && ! { [ "$got" = 2 ] && grep -q 'is finished' err.more; }; then
        verdict=wrong
        wrong "run $i ($kind, $phase): continuing: exit code $got: $(cat err.more)"
    fi
    if ! losses "$folder" | cmp -s whole.losses -; then
        verdict=LOSSES
        wrong "run $i ($kind, $phase): $(losses "$folder" | diff whole.losses - | head -n 3)"
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
    folder=disk/r$i
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
    ranks=4
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
    if [ "$first" = start-up ]; then code_is 0 5; else code_is 0; fi
    continue_it --set train.elastic=true
}

for i in $(seq "$RUNS"); do
    set -- kill_one lose_one terminate_one stop_one lose_two fail_a_write damage_the_newest \
        fill_the_disk
    shift $(((i - 1) % 8))
    kind=$1 verdict=good folder=r$i phase=''
    draw 3
    ranks=$((drawn + 2))
    draw "$ranks"
    rank=$drawn
    draw $((span * 100))
    delay=$drawn
    # Start-up is short: one in five is struck in the first second.
    draw 500
    [ "$drawn" -ge 100 ] || delay=$drawn
    $kind
    line="$i $kind ranks=$ranks rank=$rank delay=$delay phase=$(echo "$phase" | tr ' ' _) code=${code:-} $verdict"
    echo "$line" >>tally
    [ -z "$TALLY" ] || echo "$line" >>"$TALLY"
    rm -rf "${work:?}/r$i"
done
awk '{ runs[$2]++; if ($NF == "good") good[$2]++; if ($NF == "skipped") skipped[$2]++
       if ($NF == "HANG") hangs++; if ($NF == "LOSSES") other++
       if ($2 ~ /^lose/ && / code=0 /) alone[$2]++ }
     END { for (k in runs) printf "%-18s %3d runs, %3d good%s%s\n", k, runs[k], good[k],
               skipped[k] ? ", " skipped[k] " skipped" : "",
               k ~ /^lose/ ? ", " alone[k] + 0 " finished by themselves" : ""
           printf "seed %s: hangs %d, other losses %d\n", "'"$SEED"'", hangs, other }' tally
finish
