# shellcheck shell=sh
# What tests of faults share; source it after lib.sh: finding the ranks of a run, disturbing
# them, comparing losses.

# The processes of RANK of the run in FOLDER that were started here (another test at the same time
# may have a folder of that name): not those that launch it. With `supervised` set not
# the rank either that is about to become the launcher of another mpirun.
supervised=''
process_of() { # FOLDER RANK
    # shellcheck disable=SC2013 # names without blanks
    for environ in $(grep -lzx "OMPI_COMM_WORLD_RANK=$2" /proc/[0-9]*/environ 2>/dev/null); do
        process=${environ%/environ}
        [ "$(readlink "$process/cwd")" = "$(pwd -P)" ] || continue
        [ -z "$supervised" ] || grep -qz "^COHORT_SUPERVISED=" "$environ" 2>/dev/null || continue
        if tr '\0' ' ' 2>/dev/null <"$process/cmdline" | grep -q "train .*--run $1 "; then
            echo "${process#/proc/}"
        fi
    done
}

# Sends SIGNAL to each RANK once the run in FOLDER has come to STEP.
disturb() { # FOLDER STEP SIGNAL RANK…
    folder=$1 step=$2 signal=$3
    shift 3
    victims=''
    # Looked up early: going through /proc takes as long as many steps.
    for rank in "$@"; do
        victim=''
        for _ in $(seq 600); do
            victim=$(process_of "$folder" "$rank")
            [ -z "$victim" ] || break
            sleep 0.02
        done
        victims="$victims $victim"
    done
    for _ in $(seq 1200); do
        grep -q "\"step\":$step," "$folder/metrics.jsonl" 2>/dev/null && break
        sleep 0.02
    done
    # shellcheck disable=SC2086 # a list
    kill -s "$signal" $victims
}

# The last loss of every step number, in order: what a reader of the log sees.
losses() { # FOLDER
    sed -n 's/.*"event":"step","step":\([0-9]*\),.*"loss":\([^,]*\),.*/\1 \2/p' "$1/metrics.jsonl" |
        awk '{ loss[$1] = $2; if ($1 > last) last = $1 }
             END { for (i = 1; i <= last; i++) print i, loss[i] }'
}
