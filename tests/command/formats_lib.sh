# shellcheck shell=sh
# Small trained models with every layer, for the tests of export and import. Source it after
# lib.sh; `models` names them: each is a run folder NAME with the data NAME.h5.

# N numbers from 0 to 255 that look random and are the same everywhere.
noise() { # N SEED
    awk -v n="$1" -v s="$2" 'BEGIN { for (i = 0; i < n; i++) {
        s = (s * 1103515245 + 12345) % 2147483648
        printf "%d\n", int(s / 65536) % 256 } }'
}

# Noise as images of 32 x 32 x 3.
cifar_data() { # FILE
    mkdir -p cifar
    for part in data_batch_1 data_batch_2 data_batch_3 data_batch_4 data_batch_5 test_batch; do
        noise 6146 "${#part}" | awk 'NR % 3073 == 1 { $1 = $1 % 10 } { printf "\\%03o", $1 }' \
            >octal
        # shellcheck disable=SC2059 # the file is the format: octal escapes
        printf "$(cat octal)" >cifar/$part.bin
    done
    printf '%s\n' a b c d e f g h i j >cifar/batches.meta.txt
    works 1 convert cifar10 cifar --output "$1"
}

text_data() { # FILE LENGTH
    mkdir -p corpus/good corpus/bad
    for i in 1 2 3 4 5 6 7 8 9; do
        awk -v i=$i 'BEGIN { for (k = 0; k < i * i; k++) printf "fine%d film%d ", k % 7, i % 4 }' \
            >corpus/good/$i.txt
        awk -v i=$i 'BEGIN { for (k = 0; k < i; k++) printf "poor%d film%d ", k % 5, i % 3 }' \
            >corpus/bad/$i.txt
    done
    : >corpus/bad/empty.txt
    works 1 convert text corpus --length "$2" --vocabulary 50 --test 0.3 --output "$1"
}

chars_data() { # FILE LENGTH
    awk 'BEGIN { for (i = 0; i < 300; i++) printf "to be %d or not to be %d\n", i, i * i }' >play.txt
    works 1 convert chars play.txt --length "$2" --output "$1"
}

# Trains NAME for a few steps, so that no tensor has its start value.
quick_train() { # NAME RECIPE [--set …]
    name=$1 recipe=$2
    shift 2
    works 1 train "$recipe" --run "$name" --set data.file="$PWD/$name.h5" \
        --set train.max_steps=3 --set train.global_batch_size=4 --set train.threads=1 \
        --set optimizer.lr=0.003 "$@"
}

make_images_recipe() {
    cat >images.yaml <<'R'
name: images
data: {file: images.h5, scale: 0.00392156862745098, mean: [0.4, 0.5, 0.6], std: [0.2, 0.3, 0.25]}
model:
  - conv2d: {filters: 6, kernel: [3, 2], strides: 2, padding: same, activation: leaky_relu}
  - batch_norm: {momentum: 0.5}
  - relu
  - average_pool2d: {size: 3, strides: 2, padding: same}
  - layer_norm
  - residual:
      layers:
        - relu
        - conv2d: {filters: 4, kernel: 3, padding: same, bias: false}
        - batch_norm: {momentum: 0.5}
      shortcut:
        - conv2d: {filters: 4, kernel: 1, activation: gelu}
  - residual: {layers: [tanh, conv2d: {filters: 4, kernel: 3, padding: same}, softmax]}
  - gelu
  - max_pool2d: {size: [3, 2], strides: [2, 1], padding: same}
  - average_pool2d: {size: 2, strides: 1}
  - flatten
  - batch_norm: {momentum: 0.5}
  - sigmoid
  - layer_norm
  - dropout: {rate: 0.2}
  - dense: {name: hidden, units: 12, activation: tanh}
  - leaky_relu: {slope: 0.1}
  - dense: {units: 10, bias: false}
loss: cross_entropy
R
}

make_words_recipe() {
    cat >words.yaml <<'R'
name: words
data: {file: words.h5}
model:
  - embedding: {units: 8, mask: true}
  - position_embedding: sinusoidal
  - residual: {layers: [layer_norm, attention: {heads: 2}]}
  - lstm: {units: 5, bidirectional: true, return_sequences: true}
  - batch_norm: {momentum: 0.5}
  - attention: {heads: 2, causal: true}
  - dense: {units: 6, activation: gelu}
  - residual: {layers: [lstm: {units: 6, return_sequences: true}]}
  - residual: {layers: [global_average_pool, dense: 4], shortcut: [lstm: {units: 4}]}
  - dense: {units: 2}
loss: cross_entropy
R
}

make_letters_recipe() {
    cat >letters.yaml <<'R'
name: letters
data: {file: letters.h5}
model:
  - embedding: {units: 6}
  - position_embedding
  - lstm: {units: 5, bidirectional: true, return_sequences: true}
  - attention: {heads: 5}
  - residual: {layers: [global_average_pool], shortcut: [lstm: {units: 10}]}
  - softmax
  - dense: {units: 3, activation: sigmoid}
  - dense: {units: 1}
loss: binary_cross_entropy
R
}

# All models, or the small ones alone.
make_models() { # all|small
    models='images words letters'
    make_images_recipe
    make_words_recipe
    make_letters_recipe
    cifar_data images.h5
    text_data words.h5 12
    quick_train images images.yaml
    cp words.h5 letters.h5
    quick_train words words.yaml
    quick_train letters letters.yaml
    [ "$1" = all ] || return 0
    models="$models mnist resnet bilstm gpt"
    works 1 convert digits --train 40 --test 20 --output mnist.h5
    cp images.h5 resnet.h5
    text_data bilstm.h5 24
    chars_data gpt.h5 64
    quick_train mnist "$SOURCE/launch/recipes/mnist-cnn.yaml"
    quick_train resnet "$SOURCE/launch/recipes/cifar10-resnet20.yaml"
    quick_train bilstm "$SOURCE/launch/recipes/imdb-bilstm.yaml"
    quick_train gpt "$SOURCE/launch/recipes/shakespeare-gpt.yaml"
}

# What Cohort says of the samples of NAME's test split, one a line, into NAME.y.
predictions() { # NAME
    works 1 predict "$1" "$1.h5" --output "$1.predicted.h5"
    "$H5_TEXT" "$1.predicted.h5" y >"$1.y" || wrong "no predictions of $1"
}

# Whether the numbers of two files agree within LEAST.
same_numbers() { # A B LEAST WHAT
    paste -d ' ' "$1" "$2" | awk -v least="$3" '
        { half = NF / 2; if (NF % 2) exit 1
          for (i = 1; i <= half; i++) {
              d = $i - $(i + half); if (d < 0) d = -d
              if (!(d <= least)) { print NR, i, $i, $(i + half); exit 1 } } }
        END { if (NR == 0) exit 1 }' >difference || wrong "$4: $(head -1 difference)"
}

# NAME as C: compiled without a warning, it says what NAME.y says.
check_c() { # NAME
    type=int32_t
    case $1 in images | mnist | resnet) type=float ;; esac
    works 1 export "$1" --format c --output model.c
    cat >main.c <<'C'
#include <stdio.h>
#include "model.c"

int main(void)
{
    static float y[OUTPUTS];
    static TYPE x[INPUTS];
    double value;
    int i = 0;
    while (scanf("%lf", &value) == 1) {
        x[i++] = (TYPE)value;
        if (i < INPUTS)
            continue;
        predict(x, y);
        for (i = 0; i < OUTPUTS; i++)
            printf("%.9g%c", (double)y[i], i + 1 < OUTPUTS ? ' ' : '\n');
        i = 0;
    }
    return i;
}
C
    "$CC" -std=c99 -Wall -Wextra -pedantic -Werror -O1 "-DTYPE=$type" -o "$1.bin" main.c -lm ||
        wrong "the C of $1 does not compile"
    "$H5_TEXT" "$1.h5" test/x | "./$1.bin" >c.y || wrong "the C of $1 fails"
    same_numbers c.y "$1.y" 1e-5 "the C of $1"
}
