#!/bin/sh
# Manual pages: one for every command, with every option and key that the help texts name.
# shellcheck source=tests/command/lib.sh
. "$(dirname "$0")/lib.sh"
: "${BUILD:?}"
pages=$BUILD/manual/man
command -v gzip >/dev/null || skip 'there is no gzip: the pages cannot be read'

read_page() { # FILE: its words without what man(7) needs, in `page`
    gzip -dc "$1" | sed 's/\\f[BIR]//g; s/\\-/-/g; s/\\(aq/'"'"'/g; s/\\(dq/"/g; s/\\&//g' >page
}

works 1 help
commands=$(sed -n '/^  help /q; s/^  \([a-z]*\)  *[A-Z].*/\1/p' out)
[ "$(echo "$commands" | wc -l)" -gt 12 ] || wrong "the commands are only $commands"
read_page "$pages/man1/cohort.1.gz"
for command in $commands; do
    grep -q "cohort-$command (1)" page || wrong "cohort(1) does not name $command"
done
for code in 0 1 2 3 4 5 75; do
    grep -q "^.B $code$" page || wrong "cohort(1) does not know exit code $code"
done
for command in $commands; do
    works 1 help "$command"
    grep -o '^  --[a-z0-9-]*' out | tr -d ' ' >options
    read_page "$pages/man1/cohort-$command.1.gz"
    while read -r option; do
        grep -q -- "^$option" page || wrong "cohort-$command(1) lacks $option"
    done <options
done
read_page "$pages/man1/cohort-convert.1.gz"
works 1 convert --help
sed -n 's/^  \([a-z0-9]*\)  *[a-z].*/\1/p' out >formats
while read -r format; do
    grep -q "^.SH FORMAT $format$" page || wrong "cohort-convert(1) lacks $format"
done <formats

# Every key and layer, in the order of help recipe.
works 1 help recipe
sed -n 's/^  *\([a-z_0-9]*\)  .*/\1/p; s/^\([a-z_0-9]*\)  .*/\1/p' out | grep . >keys
read_page "$pages/man5/cohort-recipe.5.gz"
sed -n '/^.SH KEYS/,$s/^\([a-z_0-9]\{1,\}\)\(\\ .*\)\{0,1\}$/\1/p' page | grep . >named
sort -u keys >a
sort -u named >b
missing=$(comm -23 a b | tr '\n' ' ')
[ -z "$missing" ] || wrong "cohort-recipe(5) lacks $missing"
[ "$(wc -l <keys)" -gt 150 ] || wrong "help recipe names $(wc -l <keys) keys"

# An example keeps its lines, a paragraph does not.
read_page "$pages/man1/cohort-tune.1.gz"
grep -qx '    optimizer.lr: {log_uniform: .*' page || wrong 'cohort-tune(1) has no example'
[ "$(grep -cx '\.nf' page)" = "$(grep -cx '\.fi' page)" ] || wrong 'cohort-tune(1): an example does not end'

for page in "$pages"/man?/*.gz; do
    name=$(basename "$page" .gz)
    gzip -dc "$page" >"$name"
    if command -v mandoc >/dev/null; then
        said=$(mandoc -T lint -W warning "$name" 2>&1)
        [ -z "$said" ] || wrong "mandoc on $said"
    fi
    if command -v groff >/dev/null; then
        said=$(groff -man -ww -Tutf8 "$name" 2>&1 >/dev/null)
        [ -z "$said" ] || wrong "groff on $said"
    fi
done
finish
