# shellcheck shell=sh
# The files that a reader of the READMEs is said to have, made in the current folder.

# Pictures in folders: those that `cohort explain` draws.
cohort convert digits --train 60 --test 16 --size 12 --output digits12.h5 >files.log 2>&1
cat >start.yaml <<'YAML'
name: start
data: {file: digits12.h5}
model: [flatten, dense: {units: 10}]
loss: cross_entropy
YAML
cohort init start.yaml --output start.h5 >>files.log 2>&1
cohort explain start.h5 digits12.h5 --method saliency --samples 0-15 --output pictures >>files.log 2>&1
mkdir -p photos/cats photos/dogs
mv pictures/sample-*[02468].png photos/cats/
mv pictures/sample-*[13579].png photos/dogs/

# A table with a header, a column of categories and some missing values.
awk 'BEGIN { srand(1); split("Bonn Lyon Turin", city, " "); print "width,height,city,kind"
    for (i = 0; i < 400; i++) { w = rand(); h = rand()
        print (i % 50 ? w : "") "," h "," city[1 + i % 3] "," (w + h > 1 ? "large" : "small") } }' >table.csv
awk 'BEGIN { srand(2); split("Bonn Lyon Turin", city, " "); print "age,city,income"
    for (i = 0; i < 100; i++) print (i % 20 ? 20 + int(50 * rand()) : "NA") "," city[1 + i % 3] "," \
        (rand() > 0.5 ? "high" : "low") }' >people.csv

# Reviews in folders.
mkdir -p reviews/good reviews/bad
i=0
while [ $i -lt 80 ]; do
    echo "The film number $((i % 9)) is superb, with songs and $((i % 7)) actors." >reviews/good/$i.txt
    echo "The film number $((i % 9)) is awful, with songs and $((i % 7)) actors." >reviews/bad/$i.txt
    i=$((i + 1))
done

# Pairs of arrays as a simulation writes them.
"$MAKE_H5" fields run42.h5

# A data set and a recipe for it.
"$MAKE_H5" good data.h5
cat >recipe.yaml <<'YAML'
name: small
data: {file: data.h5}
model: [dense: {units: 8, activation: relu}, dense: {units: 3}]
loss: cross_entropy
train: {epochs: 2, global_batch_size: 8}
YAML
