#!/bin/sh
# The READMEs tell the truth: every command in them, copied as it stands, works in a fresh copy of
# the tree, and prints what is said there (readme_compare.awk has the rules). readme_skipped.txt
# lists the commands that are left out, with the reason; readme_files.sh makes the files that a
# reader is said to have. The program is the one that was built, not built again.
# shellcheck source=tests/command/lib.sh
. "$(dirname "$0")/lib.sh"
: "${BUILD:?}"
tests=$SOURCE/tests/command
documents=${README_DOCUMENTS:-'README.md launch/README.md datasets/README.md tests/README.md'}

# Python is not asked for by launch/setup.sh: blocks that need it are run where it is.
python=''
for name in /usr/bin/python3 python3; do
    [ -n "$python" ] || ! "$name" -c 'import h5py' 2>/dev/null || python=$name
done

# What git would clone, and the program.
copy_tree() { # FOLDER
    mkdir -p "$1"
    (cd "$SOURCE" && tar -cf - --exclude='*.h5' --exclude=downloads README.md LICENSE CMakeLists.txt \
        launch datasets include tests src) | (cd "$1" && tar -xf -)
    ln -s "$BUILD" "$1/build"
}

# The reason why COMMAND of DOCUMENT is left out, if it is.
reason() { # DOCUMENT COMMAND
    while IFS='|' read -r document beginning why; do
        beginning=${beginning# }
        beginning=${beginning% }
        [ "${document% }" = "$1" ] || continue
        case $2 in
        "$beginning"*)
            echo "$document| $beginning" >>"$work/used"
            echo "${why# }"
            return 0
            ;;
        esac
    done <"$tests/readme_skipped.txt"
    return 1
}

# Runs command file STEP of DOCUMENT in this shell, so that what it exports stays.
run_step() { # DOCUMENT STEP
    step=$2
    command=$(cat "$step.do")
    if why=$(reason "$1" "$command"); then
        echo "left out: $command: $why"
        return
    fi
    case $command in
    python3\ *)
        if [ -z "$python" ]; then
            echo "left out: $command: no Python with h5py here; another file takes its place"
            "$MAKE_H5" groups datasets/mine.h5 || wrong "make_h5"
            return
        fi
        command="$python ${command#python3 }"
        ;;
    esac
    count=$((count + 1))
    echo "$1: $command"
    eval "$command" >"$step.out" 2>&1 </dev/null
    code=$?
    [ $code = 0 ] || wrong "$1: \`$command\` ends with $code: $(tail -n 5 "$step.out")"
    [ "$(cat "$step.kind")" = console ] || return
    grep -v '^cohort: warning: ' "$step.out" >"$step.got"
    awk -f "$tests/readme_compare.awk" "$step.want" "$step.got" >"$step.why" ||
        wrong "$1: \`$command\` prints something else:
$(cat "$step.why")"
}

run_document() { # DOCUMENT
    steps=$work/steps-$(echo "$1" | tr / -)
    mkdir "$steps"
    (cd "$steps" && awk -f "$tests/readme_blocks.awk" "$SOURCE/$1") || wrong "$1 cannot be read"
    number=1
    while [ -e "$steps/$number.kind" ]; do
        case $(cat "$steps/$number.kind") in
        file\ *) cp "$steps/$number.do" "$(sed 's/^file //' "$steps/$number.kind")" ;;
        *) run_step "$1" "$steps/$number" ;;
        esac
        number=$((number + 1))
    done
}

# The comparison itself: what it lets pass, and that it notices a lie.
compares() { # WANTED GOT
    printf '%b' "$1" >wanted
    printf '%b' "$2" >got
    awk -f "$tests/readme_compare.awk" wanted got >/dev/null
}
compares 'loss 0.0274  99.10%  500 samples/s  3s\n' 'loss 0.0281 98.9% 7 samples/s 0s\n' ||
    wrong 'the comparison heeds rounding, rates or times'
compares 'a\n…\nd … f\n' 'a\nb\nc\nd e e f\n' || wrong 'the comparison does not know …'
for pair in 'samples 1000 1001' 'accuracy 99.10% 92.00%' 'loss 0.0274 0.2740' 'wrote this that'; do
    # shellcheck disable=SC2086 # three words
    set -- $pair
    compares "$1 $2\n" "$1 $3\n" && wrong "the comparison takes $1 $2 for $3"
done
compares 'a\n' 'a\nb\n' && wrong 'the comparison overlooks a line too many'
compares 'a\n…\nb\n' 'a\nc\n' && wrong 'the comparison overlooks a line that is missing'

# What an installed library gives to a program, for `pkg-config cohort`.
cmake --install "$BUILD" --prefix "$work/installed" >install.log 2>&1 ||
    wrong "cmake --install: $(tail -n 3 install.log)"
PKG_CONFIG_PATH=$(dirname "$(find "$work/installed" -name cohort.pc)")
LD_LIBRARY_PATH=$(dirname "$(find "$work/installed" -name libcohort.so)")
PATH=$BUILD/src/cli:$PATH
# Threads that wait do not spin: on a machine with other work they would hold up each other.
export OMP_WAIT_POLICY=passive GOMP_SPINCOUNT=0
# Plain mpirun, as root and on as few cores as there are here.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_mpi_yield_when_idle=1
export PKG_CONFIG_PATH LD_LIBRARY_PATH PATH

for document in $documents; do
    count=0
    tree=$work/tree-$(echo "$document" | tr / -)
    copy_tree "$tree"
    cd "$tree" || exit 1
    # shellcheck source=tests/command/readme_files.sh
    . "$tests/readme_files.sh"
    unset COHORT_DATASETS
    [ "$document" = README.md ] || export COHORT_DATASETS="$tree/datasets"
    run_document "$document"
    echo "$document: $count commands"
    cd "$work" || exit 1
done

# Whatever is listed is in a README.
if [ -z "${README_DOCUMENTS:-}" ]; then
    grep -v '^#' "$tests/readme_skipped.txt" | while IFS='|' read -r document beginning _; do
        beginning=${beginning% }
        grep -qxF "$document|$beginning" used || echo "$document|$beginning"
    done >stale
    [ ! -s stale ] || wrong "readme_skipped.txt lists what no README says: $(cat stale)"
fi
finish
