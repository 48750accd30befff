#!/bin/sh
# explain: attributions add up where they must, agree where they must, and say the same on any
# number of ranks; pictures, words, tables.
# shellcheck source=tests/command/lib.sh
. "$(dirname "$0")/lib.sh"

# adds_up FILE SHARE: in every sample `sum` is value - baseline, within SHARE of it.
adds_up() {
    grep -o '"value":[^,]*,"baseline":[^,]*,"sum":[^,}]*' "$1" >sums
    [ -s sums ] || wrong "$1 has no sums"
    tr -c '0-9.e+-' ' ' <sums | awk -v share="$2" '{
        # the letters of the keys leave an e here and there
        n = 0; for (i = 1; i <= NF; i++) if ($i ~ /[0-9]/) v[++n] = $i
        d = v[1] - v[2]; if ((v[3] - d) ^ 2 > (share * d) ^ 2) bad = 1 } END { exit bad || !NR }' ||
        wrong "$1: sums are not value - baseline: $(cat sums)"
}

# Images, through convolutions, batch_norm and a residual.
works 1 convert digits --train 400 --test 40 --size 14 --output digits.h5
cat >net.yaml <<'YAML'
name: net
data: {file: digits.h5, scale: 0.0039, mean: 0.2, std: 0.3}
model:
  - residual:
      layers: [conv2d: {filters: 4, kernel: 3, padding: same}, batch_norm, relu]
      shortcut: [conv2d: {filters: 4, kernel: 1}]
  - max_pool2d
  - flatten
  - dropout: 0.2
  - dense: {units: 10}
freeze: [0_residual/shortcut/0_conv2d]
loss: cross_entropy
optimizer: {type: adam, lr: 0.01}
train: {epochs: 3, global_batch_size: 40}
YAML
works 1 train net.yaml
for method in saliency integrated_gradients occlusion; do
    works 1 explain runs/net digits.h5 --method $method --samples 3,10-12 --output $method
    for row in 3 10 11 12; do
        file=$method/sample-$row.png
        grep -q "$(basename $file)" $method/explain.html || wrong "$file is not in explain.html"
        [ "$(head -c 8 $file | od -An -tx1 | tr -d ' \n')" = 89504e470d0a1a0a ] ||
            wrong "$file is no PNG"
        [ "$(head -c 24 $file | tail -c 8 | od -An -tx1 | tr -d ' \n')" = 0000023c00000118 ] ||
            wrong "$file is not 572 x 280"
    done
    works 1 inspect $method/attributions.h5
    says "/attribution" "4x14x14x1" "/row" "/value" "/baseline"
done
adds_up integrated_gradients/explain.json 0.05
works 1 explain runs/net digits.h5 --method integrated_gradients --steps 2000 --output fine
says "within"
adds_up fine/explain.json 0.002
works 3 explain runs/net digits.h5 --method occlusion --samples 3,10-12 --output again
cmp -s again/explain.json occlusion/explain.json || wrong "three ranks say something else"
cmp -s again/sample-3.png occlusion/sample-3.png || wrong "three ranks draw something else"
works 1 explain runs/net digits.h5 --method saliency --samples 0 --class 4 --output four
grep -q '"class":"4"' four/explain.json || wrong "not class 4: $(cat four/explain.json)"

# A linear network: hiding a value takes exactly what it has added; the gradient is the weight.
awk 'BEGIN { srand(3); print "size,colour,\"a, b\",cost"; split("red blue green", c, " ")
    for (i = 0; i < 80; i++) { s = rand(); b = rand(); k = 1 + int(3 * rand())
        print s "," c[k] "," b "," 3 * s + (k == 1) - b } }' >table.csv
works 1 convert csv table.csv --label cost --regression --categorical colour --output table.h5
cat >linear.yaml <<'YAML'
name: linear
data: {file: table.h5}
model: [dense: {units: 1}]
loss: mse
optimizer: {type: adam, lr: 0.05}
train: {epochs: 20, global_batch_size: 16}
YAML
works 1 train linear.yaml
for method in saliency integrated_gradients occlusion; do
    works 1 explain runs/linear table.csv --method $method --samples 0-9 --output linear-$method
    head -n 1 linear-$method/attributions.csv |
        grep -qx 'row,output,value,baseline,"size","colour","a, b"' ||
        wrong "columns: $(head -n 1 linear-$method/attributions.csv)"
done
adds_up linear-integrated_gradients/explain.json 0.001
paste -d , linear-integrated_gradients/attributions.csv linear-occlusion/attributions.csv |
    awk -F , 'NR > 1 { for (i = 5; i <= 7; i++) if (($i - $(i + 7)) ^ 2 > 1e-9) bad = 1; n++ }
        END { exit bad || n != 10 }' || wrong "occlusion is not what was added in a linear network"
awk -F , 'NR == 2 { for (i = 5; i <= 7; i++) w[i] = $i }
    NR > 2 { for (i = 5; i <= 7; i++) if (($i - w[i]) ^ 2 > 1e-9) bad = 1 } END { exit bad }' \
    linear-saliency/attributions.csv || wrong "the gradient of a linear network changes"

# Text: a word that decides has the largest weight, whatever the method; masked recurrent network.
mkdir -p text/good text/bad
i=0
while [ $i -lt 60 ]; do
    echo "a film with $((i % 7)) superb actors and $((i % 5)) songs" >text/good/$i.txt
    echo "a film with $((i % 7)) awful actors and $((i % 5)) songs" >text/bad/$i.txt
    i=$((i + 1))
done
works 1 convert text text --length 12 --output text.h5
cat >text.yaml <<'YAML'
name: text
data: {file: text.h5}
model:
  - embedding: {units: 8, mask: true}
  - lstm: {units: 8, bidirectional: true}
  - dense: {units: 1}
loss: binary_cross_entropy
optimizer: {type: adam, lr: 0.02}
train: {epochs: 6, global_batch_size: 24}
YAML
works 1 train text.yaml
echo "awful songs and a film" >line.txt
echo "a superb film" >>line.txt
for method in saliency integrated_gradients occlusion; do
    works 1 explain runs/text line.txt --method $method --output text-$method
    grep -q '<span style="background:[^"]*">awful</span>' text-$method/explain.html ||
        wrong "no weighted word in explain.html"
    tr '{' '\n' <text-$method/explain.json | sed -n 's/"word":"\(.*\)","weight":\([^}]*\)}.*/\1 \2/p' \
        >words
    [ "$(wc -l <words)" = 8 ] || wrong "not 8 words: $(cat words)"
    sort -g -k 2 words | tail -n 2 | cut -d ' ' -f 1 | sort | tr '\n' ' ' >decide
    [ "$method" = saliency ] || [ "$(cat decide)" = "awful superb " ] || wrong "$method: $(cat words)"
done
adds_up text-integrated_gradients/explain.json 0.01
# The other class of a single output: the same with the other sign.
works 1 explain runs/text line.txt --method integrated_gradients --class good --output as-good
works 1 explain runs/text line.txt --method integrated_gradients --class bad --output as-bad
paste -d ' ' as-good/explain.json as-bad/explain.json | tr '{' '\n' |
    sed -n 's/.*"word":"awful","weight":\([^}]*\)}.*/\1/p' | sort -u | tr -d '\n' |
    grep -q '^-\([0-9.e-]*\)\1$' || wrong "classes of one output do not mirror each other"

# A language model is explained at one of its positions, which knows nothing of what follows.
seq 1 400 | tr '\n' ' ' >count.txt
works 1 convert chars count.txt --length 16 --output chars.h5
cat >chars.yaml <<'YAML'
name: chars
data: {file: chars.h5}
model: [embedding: 8, position_embedding, attention: {heads: 2, causal: true}, dense: {units: 11}]
loss: cross_entropy
optimizer: {type: adam, lr: 0.01}
train: {epochs: 2, global_batch_size: 8}
YAML
works 1 train chars.yaml
works 1 explain runs/chars chars.h5 --method integrated_gradients --position 5 --samples 0 --output at5
adds_up at5/explain.json 0.01
tr '{' '\n' <at5/explain.json | sed -n 's/.*"weight":\([^}]*\)}.*/\1/p' |
    awk 'NR > 6 && $1 != 0 { bad = 1 } NR <= 6 && $1 != 0 { n++ } END { exit bad || n != 6 || NR != 16 }' ||
    wrong "position 5 depends on what follows: $(cat at5/explain.json)"

fails 2 "--method" explain runs/net digits.h5 --output x
fails 2 "must be saliency, integrated_gradients or occlusion" explain runs/net digits.h5 --method lime --output x
fails 2 "no row 40; the input has 40" explain runs/net digits.h5 --method saliency --samples 40 --output x
fails 2 "give rows as 3,10-14" explain runs/net digits.h5 --method saliency --samples 1,,2 --output x
fails 2 "7-3 runs backwards" explain runs/net digits.h5 --method saliency --samples 7-3 --output x
fails 2 "there is no output 10" explain runs/net digits.h5 --method saliency --class 10 --output x
fails 2 "no class of the model" explain runs/net digits.h5 --method saliency --class ten --output x
fails 2 "no position 3" explain runs/net digits.h5 --method saliency --position 3 --output x
fails 2 "--steps is for" explain runs/net digits.h5 --method saliency --steps 3 --output x
fails 3 "samples have the shape" explain runs/net text.h5 --method saliency --output x
fails 3 "no checkpoint" explain . digits.h5 --method saliency --output x
touch plain
fails 3 "plain" explain runs/net digits.h5 --method saliency --output plain/x
[ ! -e x ] || wrong "a refused explanation left files: $(ls x)"
finish
