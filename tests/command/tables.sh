#!/bin/sh
# Tables with categories and missing values, from the CSV file to predictions on another one;
# arrays of other HDF5 and npz files.
# shellcheck source=tests/command/lib.sh
. "$SOURCE/tests/command/lib.sh"

cat >t.csv <<'CSV'
age,"city, name",income,note,kind
30,Paris,1000,x,a
40,"San ""Fran""",NA,y,b
,Rome,3000,z,a
50,Paris,2000,"two
lines",b
35,,1500,x,a
45,Rome,2500,x,b
CSV
rules="--ignore note --missing-mark NA"
# shellcheck disable=SC2086 # a list of options
works 1 convert csv t.csv --categorical "city, name" $rules --missing mean --standardise --test 0 \
    --output t.h5
"$H5_TEXT" t.h5 train/x >x.txt
cat >wanted.txt <<'X'
-1.41421354 1 0 0 -1.41421354
0 0 0 1 0
0 0 1 0 1.41421354
1.41421354 1 0 0 0
-0.707106769 0 0 0 -0.707106769
0.707106769 0 1 0 0.707106769
X
cmp x.txt wanted.txt || wrong "encoded: $(cat x.txt)"
# shellcheck disable=SC2086
works 1 convert csv t.csv --categorical 2 $rules --missing drop --test 0 --output drop.h5
says "left out 3 rows with missing values"
[ "$("$H5_TEXT" drop.h5 train/x | head -1)" = "30 1 0 1000" ] || wrong "dropped: $("$H5_TEXT" drop.h5 train/x)"
# shellcheck disable=SC2086
works 1 convert csv t.csv --categorical 2 $rules --missing -1 --test 0 --output constant.h5
[ "$("$H5_TEXT" constant.h5 train/x | sed -n 2p)" = "40 0 0 1 -1" ] || wrong "constant"

# Means are of the rows that are trained on, not of the test rows.
{
    echo a,b
    awk 'BEGIN { for (i = 0; i < 50; i++) print (i % 7 ? i : "") "," i % 2 }'
} >m.csv
works 1 convert csv m.csv --missing mean --standardise --test 0.4 --output m.h5
"$H5_TEXT" m.h5 train/x | awk '{ s += $1; q += $1 * $1; n++ } END {
    m = s / n; exit !(n == 30 && m * m < 1e-10 && q / n < 1.0001) }' || wrong "not standardised"

# --- The first line, of the training file and of the test file -----------------------------------
printf 'a,b,kind\n1,10,p\n2,20,q\n' >h.csv
printf 'kind,b,a\nq,40,4\np,30,3\n' >turned.csv
works 1 convert csv h.csv turned.csv --output turned.h5
[ "$("$H5_TEXT" turned.h5 test/x)" = "$(printf '4 40\n3 30')" ] || wrong "turned: $("$H5_TEXT" turned.h5 test/x)"
[ "$("$H5_TEXT" turned.h5 test/y | tr '\n' ' ')" = "1 0 " ] || wrong "turned: $("$H5_TEXT" turned.h5 test/y)"
printf '3,30,p\n4,40,q\n' >bare.csv
works 1 convert csv h.csv bare.csv --label kind --output bare.h5
[ "$("$H5_TEXT" bare.h5 test/x)" = "$(printf '3 30\n4 40')" ] || wrong "bare: $("$H5_TEXT" bare.h5 test/x)"
printf 'a,b,sort\n3,30,p\n' >other.csv
fails 3 'other.csv line 1, column 3: "sort" is neither the name' convert csv h.csv other.csv --output no.h5
printf 'a,a,kind\n3,30,p\n' >twice.csv
fails 3 'twice.csv line 1 names the column "a" twice' convert csv h.csv twice.csv --output no.h5
fails 3 'columns 1 and 2 are both named "a"' convert csv twice.csv --test 0 --output no.h5
fails 3 'columns 1 and 2 are both named "a"' convert csv twice.csv --ignore 1 --test 0 --output no.h5
printf ',,a,kind\n1,2,3,p\n4,5,6,q\n' >nameless.csv
printf ',,a,kind\n7,8,9,q\n' >nameless_test.csv
works 1 convert csv nameless.csv nameless_test.csv --ignore 1 --ignore 2 --output nameless.h5
[ "$("$H5_TEXT" nameless.h5 test/x)" = 9 ] || wrong "nameless: $("$H5_TEXT" nameless.h5 test/x)"
# Nothing tells whether a first line of texts among texts is one of names.
printf 'colour,kind\nred,p\nblue,q\n' >texts.csv
fails 3 "say --header" convert csv texts.csv --categorical 1 --test 0 --output no.h5
works 1 convert csv texts.csv --categorical 1 --header --test 0 --output texts.h5
[ "$("$H5_TEXT" texts.h5 train/x)" = "$(printf '0 1\n1 0')" ] || wrong "texts: $("$H5_TEXT" texts.h5 train/x)"
printf 'colour,sort\nred,p\n' >sort.csv
fails 3 'column 2: "sort" is neither the name' convert csv texts.csv sort.csv --categorical colour --output no.h5
works 1 convert csv texts.csv --categorical 1 --no-header --test 0 --output texts.h5
[ "$("$H5_TEXT" texts.h5 train/x | wc -l)" = 3 ] || wrong "texts without header"

# --- Predicting on tables ---------------------------------------------------------------------
cat >t.yaml <<'R'
name: t
data: {file: t.h5, scale: 2.0, mean: 0.5}
model:
  - dense: {units: 4, activation: tanh}
  - dense: 2
loss: cross_entropy
train: {epochs: 3, global_batch_size: 3, threads: 1}
R
works 1 train t.yaml --run run
works 1 predict run t.h5 --split train --output a.csv
works 1 predict run t.csv --output b.csv
cmp a.csv b.csv || wrong "the table and the data set made of it predict something else"
# Columns in another order, others between them, no labels.
awk -F, 'NR == 1 { print "income,more,\"city, name\",age" } NR == 2 || NR == 7 {
    print $3 ",," $2 "," $1 }' t.csv >u.csv
works 1 predict run u.csv --output c.csv
works 2 predict run u.csv --output d.csv
cmp c.csv d.csv || wrong "predictions on a table depend on the ranks"
[ "$(sed -n 2p c.csv)" = "$(sed -n 2p a.csv)" ] || wrong "row 1: $(cat c.csv)"

head='"city, name",income,age'
table() { # ROW: a table of one row
    printf '%s\n%s\n' "$head" "$1" >v.csv
}
table Rom,5,NA
fails 3 'v.csv line 2: column 2 (city, name): the model was not trained on the value "Rom"; did you mean "Rome"?' \
    predict run v.csv --output no.csv
table Rome,many,3
fails 3 '"many" is not a number' predict run v.csv --output no.csv
table Rome,1
fails 3 "line 2: 2 columns where the first line has 3" predict run v.csv --output no.csv
head="$head,income"
table Rome,5,1,2
fails 3 "names the column income twice" predict run v.csv --output no.csv
head=city,income,age
table Rome,1,2
fails 3 "does not name the column city, name" predict run v.csv --output no.csv
: >v.csv
fails 3 "is empty" predict run v.csv --output no.csv
fails 2 "--split is for HDF5" predict run t.csv --split test --output no.csv
[ -e no.csv ] && wrong "a failed prediction left a file"

# Without names columns are known by their places; trained without a rule, nothing may be missing.
printf '1,2,0\n3,4,1\n5,6,0\n7,8,1\n' >n.csv
works 1 convert csv n.csv --test 0 --output t.h5
works 1 train t.yaml --run plain --set data.scale=1
printf '1,2\n3,4\n' >v.csv
works 1 predict plain v.csv --output e.csv
works 1 predict plain n.csv --output f.csv
[ "$(head -3 f.csv)" = "$(cat e.csv)" ] || wrong "labels left out: $(cat e.csv f.csv)"
printf '1\n' >v.csv
fails 3 "1 columns" predict plain v.csv --output no.csv
printf '1,\n' >v.csv
fails 3 "line 1: column 2: the value is missing" predict plain v.csv --output no.csv

# --- Wrong tables -------------------------------------------------------------------------------
fails 3 '"Paris" is not a number; mend the value, or use --categorical' convert csv t.csv --output no.h5
fails 3 "the value is missing" convert csv m.csv --output no.h5
fails 2 "must be error, drop, mean or a number" convert csv t.csv --missing some --output no.h5
fails 2 "no such column" convert csv t.csv --categorical town --output no.h5
fails 2 "named twice" convert csv t.csv --categorical note --ignore note --output no.h5
printf 'a,b,c\n1,2,3\n4,5\n' >ragged.csv
fails 3 "line 3: 2 columns where the first line has 3" convert csv ragged.csv --output no.h5
printf 'a,b\n,1\n,2\n' >none.csv
fails 3 "has no rows" convert csv none.csv --missing drop --output no.h5

# --- Other HDF5 files and npz -----------------------------------------------------------------
"$MAKE_H5" good other.h5
works 1 convert hdf5 other.h5 --x train/x --y train/y --test 0.25 --output o.h5
[ "$("$H5_TEXT" o.h5 train/x | wc -l) $("$H5_TEXT" o.h5 test/y | wc -l)" = "24 8" ] || wrong "split"
works 1 convert hdf5 other.h5 --x train/x --y train/y --test-x test/x --test-y test/y --output o.h5
"$H5_TEXT" o.h5 test/x >x.txt
"$H5_TEXT" other.h5 test/x | cmp - x.txt || wrong "rows of test/x changed"
fails 3 "no dataset" convert hdf5 other.h5 --output no.h5
fails 2 "go together" convert hdf5 other.h5 --x train/x --y train/y --test-x test/x --output no.h5
"$MAKE_H5" lengths other.h5
fails 3 "30" convert hdf5 other.h5 --x train/x --y train/y --output no.h5
"$MAKE_H5" nan other.h5
fails 3 "NaN" convert hdf5 other.h5 --x train/x --y train/y --output no.h5

works 1 convert npz "$SOURCE/tests/fuzz/weights/odd.npz" --x f --y i --test 0.5 --output z.h5
says "wrote z.h5"
{
    "$H5_TEXT" z.h5 train/x
    "$H5_TEXT" z.h5 test/x
} | sort | tr '\n' ' ' >x.txt
[ "$(cat x.txt)" = "0 1 2 3 4 5 " ] || wrong "npz rows: $(cat x.txt)"
fails 3 "has no array q" convert npz "$SOURCE/tests/fuzz/weights/odd.npz" --x q --y i --output no.h5
fails 2 "which arrays" convert npz "$SOURCE/tests/fuzz/weights/odd.npz" --output no.h5
fails 3 "no rows" convert npz "$SOURCE/tests/fuzz/weights/odd.npz" --x s --y i --output no.h5
fails 3 "no ZIP archive" convert npz t.csv --output no.h5
[ -e no.h5 ] && wrong "a failed conversion left a file"
finish
