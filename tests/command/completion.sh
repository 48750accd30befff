#!/bin/sh
# Completions: what each shell offers after the words that a user has typed.
# shellcheck source=tests/command/lib.sh
. "$(dirname "$0")/lib.sh"
: "${BUILD:?}"
touch first.yaml second.yml table.csv data.h5
mkdir run

cat >bash.sh <<'E'
. "$1"
COMP_LINE=$2 COMP_POINT=${#2}
_cohort
printf '%s\n' "${COMPREPLY[@]}"
E
cat >zsh.sh <<'E'
# An interactive shell behind a terminal, in which compadd writes down what it is given.
zmodload zsh/zpty
cat >setup.zsh <<S
PS1= fpath=(${1:h} \$fpath)
autoload -Uz compinit
compinit -u -D
compadd() {
    local -a hits
    if [[ " \$* " == *' -'[OAD]' '* ]]; then
        builtin compadd "\$@"
    else
        builtin compadd -A hits "\$@"
        (( \$#hits )) && print -rl -- \$hits >>seen
        builtin compadd "\$@"
    fi
}
note_end() { : >over }
comppostfuncs=(note_end)
# Keys that are sent before the shell edits lines are lost.
zle-line-init() { : >ready }
zle -N zle-line-init
S
rm -f seen over ready
await() {
    repeat 600; do
        [[ -e $1 ]] && return
        sleep 0.05
    done
    print -u2 "no $1 within 30 s"
    exit 1
}
zpty shell zsh -f -i
zpty -w shell 'source ./setup.zsh'
await ready
zpty -w -n shell $2$'\t'
await over
zpty -d shell
touch seen
cat seen
E

ask() { # SHELL LINE: what is offered, in `out`
    case $1 in
    bash) bash bash.sh "$BUILD/manual/bash-completion/completions/cohort" "$2" ;;
    fish) fish -N -c "source '$BUILD/manual/fish/vendor_completions.d/cohort.fish'; complete -C '$2'" | cut -f 1 ;;
    zsh) timeout 60 zsh -f zsh.sh "$BUILD/manual/zsh/site-functions/_cohort" "$2" ;;
    esac >out 2>err || {
        wrong "$1 on \"$2\": $(cat err)"
        finish
    }
    [ ! -s err ] || wrong "$1 on \"$2\" says $(head -n 3 err)"
}

offers() { # LINE YES… -- NO…: words offered and words that are not
    line=$1
    shift
    ask "$shell" "$line"
    expected=yes
    for word in "$@"; do
        if [ "$word" = -- ]; then
            expected=no
        elif grep -qE -- "(^|[[:space:]]|=)$word(\$|[[:space:]])" out; then
            [ $expected = yes ] || wrong "$shell on \"$line\" offers $word"
        else
            [ $expected = no ] || wrong "$shell on \"$line\" lacks $word: $(head -c 600 out)"
        fi
    done
}

tried=0
for shell in bash fish zsh; do
    command -v $shell >/dev/null || {
        echo "no $shell here: its completion is not tried"
        continue
    }
    tried=$((tried + 1))
    offers 'cohort tr' train -- eval
    offers 'cohort e' eval export explain -- train
    offers 'cohort help rec' recipe
    offers 'cohort train ' first.yaml second.yml -- table.csv data.h5
    offers 'cohort train --re' --resume --restarts -- --run
    offers 'cohort inspect ' data.h5 -- table.csv first.yaml
    offers 'cohort export data.h5 --format ' safetensors npz keras onnx c -- data.h5
    offers 'cohort export data.h5 --format=o' onnx -- npz
    offers 'cohort convert ' idx cifar10 csv images hdf5
    offers 'cohort convert csv ' table.csv -- data.h5
    offers 'cohort convert text --tokens w' words wordpiece -- bpe
    offers 'cohort train --set optimizer.e' optimizer.epsilon= optimizer.embedding_rows=
    offers 'cohort train first.yaml --set optimizer.type=ad' adam adamw adagrad -- sgd
    offers 'cohort train --set train.elastic=' true false
    offers 'cohort train --set federated.strategy.t' federated.strategy.trim=
done
[ $tried -gt 0 ] || skip 'there is neither bash nor fish nor zsh'
finish
