#!/bin/sh
# Secure aggregation between real clients: the bits of plain sums, with a third of the clients
# killed or stopped at each phase; below the threshold a round begins again.
# shellcheck source=tests/command/lib.sh
. "$(dirname "$0")/lib.sh"
[ -e "${STRIKE_LIBRARY:-}" ] || skip "no library to strike clients with"
for rank in 0 1 2 3 4 5 6; do
    works 1 convert digits --train $((60 + 10 * rank)) --test 60 --size 14 --seed $((rank + 1)) \
        --output site-$rank.h5
done
cat >fed.yaml <<'YAML'
name: fed
data: {file: "site-{rank}.h5", scale: 0.004}
model:
  - flatten
  - dense: {units: 24, activation: relu}
  - dense: {units: 10}
loss: cross_entropy
optimizer: {type: sgd, lr: 0.05}
train: {threads: 1}
comm: {timeout: 60}
federated: {rounds: 4, fraction: 1, min_clients: 2, round_timeout: 60}
YAML
masked='--set federated.secure_aggregation=true'
keys=7 shares=9 update=3 reveal=12 # cohort_letter_kind
OMPI_MCA_orte_enable_recovery=1
ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}verify_asan_link_order=0"
export OMPI_MCA_orte_enable_recovery ASAN_OPTIONS

# What rounds were tested at, and with how many clients: the model's bits, as far as they show.
rounds() { # FOLDER
    sed -n '/"event":"round"/{s/"loss".*"test_loss"/"test_loss"/; s/,"bytes_up".*//p;}' "$1/metrics.jsonl"
}
same() { # FOLDER FOLDER
    rounds "$1" >left
    rounds "$2" >right
    [ "$(wc -l <left)" = 4 ] || wrong "$1 has other rounds than 4: $(cat left)"
    cmp -s left right || wrong "$1 and $2 differ: $(diff left right | head -n 4)"
}

# Trains on 7 ranks while STRIKE hits; the coordinator must come to its end.
struck() { # STRIKE FOLDER OPTION…
    hit=$1 folder=$2
    shift 2
    STRIKE=$hit LD_PRELOAD=$STRIKE_LIBRARY timeout 240 "$SOURCE/launch/mpirun.sh" 7 "$COHORT" train \
        fed.yaml --run "$folder" --quiet "$@" >out 2>err
    got=$?
}
finished() { # FOLDER
    [ "$(metric "$1/metrics.jsonl" end status)" = '"finished"' ] || wrong "$1: $(cat err)"
}

# shellcheck disable=SC2086 # options
{
    works 7 train fed.yaml --run plain --quiet
    works 7 train fed.yaml --run whole --quiet $masked
    same plain whole
    m=whole/metrics.jsonl
    [ "$(metric $m start secure_aggregation)" = true ] || wrong 'start does not say so'
    [ "$(metric $m round threshold)" = 4 ] || wrong "0.66 of 6: $(metric $m round threshold)"
    holds "$(metric $m round expansion) > 1.5 && $(metric $m round expansion) < 2.2" ||
        wrong "expansion: $(metric $m round expansion)"
    holds "$(metric $m round bytes_down) > $(metric plain/metrics.jsonl round bytes_down)" ||
        wrong 'bytes_down leaves the protocol out'
    # The figures of training come in the sum, no figure of a single client does.
    holds "$(metric $m round loss) - $(metric plain/metrics.jsonl round loss) < 0.001" ||
        wrong "loss under masks: $(metric $m round loss)"
    [ "$(metric $m round accuracy)" = "$(metric plain/metrics.jsonl round accuracy)" ] ||
        wrong "accuracy under masks: $(metric $m round accuracy)"
    [ "$(metric $m round update_norm)" = null ] || wrong 'norms are known'

    # --- A third at each phase ------------------------------------------------------------------
    struck "$update 1 9 2 5" lost
    finished lost
    struck "$update 2 9 2 5" lost_later
    finished lost_later
    for phase in $keys $shares $update; do
        struck "$phase 1 9 2 5" killed$phase $masked
        finished killed$phase
        same lost killed$phase
        grep -q 'begins again' err && wrong "phase $phase: a third is too much: $(cat err)"
    done
    struck "$reveal 1 9 2 5" killed$reveal $masked
    finished killed$reveal
    same lost_later killed$reveal
    # Stopped ones cost time, a round_timeout each phase they are waited for in.
    for phase in $keys $reveal; do
        struck "$phase 1 19 2 5" stopped$phase $masked --set federated.round_timeout=4
        finished stopped$phase
    done
    same lost stopped$keys
    same lost_later stopped$reveal

    # --- Below the threshold --------------------------------------------------------------------
    struck "$shares 1 9 1 3 6" half $masked
    finished half
    grep -q '^cohort: warning: secure sum of round 2 is abandoned: 3 of 6 clients sent their shares, fewer than the threshold of 4; nothing was learned of any update; it begins again' err ||
        wrong "half: $(cat err)"
    [ "$(metric half/metrics.jsonl round clients)" = 3 ] || wrong 'half: not three are left'
    struck "$update 1 9 1 3 6" few $masked --set federated.min_clients=4
    grep -q '^cohort: round 2: only 3 clients can be reached, fewer than federated.min_clients (4)' err ||
        wrong "few: $(cat err)"
    struck "$update 1 9 1 2 3 4 5" one $masked --set federated.min_clients=1
    grep -q '^cohort: round 2: only 1 clients can be reached, fewer than a secure sum needs (2)' err ||
        wrong "one: $(cat err)"

    # --- What the coordinator gets --------------------------------------------------------------
    chi_square() { # FILE: of its bytes, 255 degrees of freedom
        od -An -v -tu1 -w16 "$1" | awk '{ for (i = 1; i <= NF; i++) n[$i]++; all += NF }
            END { for (v = 0; v < 256; v++) s += (n[v] - all / 256) ^ 2 / (all / 256); print s }'
    }
    STRIKE_KEEP=bare LD_PRELOAD=$STRIKE_LIBRARY works 7 train fed.yaml --run bare --quiet
    STRIKE_KEEP=hidden LD_PRELOAD=$STRIKE_LIBRARY works 7 train fed.yaml --run hidden --quiet $masked
    for rank in 1 6; do
        holds "$(chi_square bare.$rank) > 1000" || wrong "the test of uniformity sees nothing"
        x=$(chi_square hidden.$rank)
        holds "$x > 130 && $x < 390" || wrong "masked vectors of rank $rank are not uniform: $x"
    done

    # --- Mistakes -------------------------------------------------------------------------------
    unset OMPI_MCA_orte_enable_recovery
    fails_on 2 2 'rounds have one client only' train fed.yaml --run alone $masked --set federated.min_clients=1
}
finish
