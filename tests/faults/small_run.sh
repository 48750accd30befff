# A run of a moment: net.yaml and its data. To be sourced.
# shellcheck shell=sh
# shellcheck source=tests/command/lib.sh
. "${SOURCE:?}/tests/command/lib.sh"
works 1 convert digits --train 40 --test 10 --output digits.h5
cat >net.yaml <<'YAML'
name: net
data: {file: digits.h5, scale: 0.004}
model:
  - flatten
  - dense: {units: 10}
loss: cross_entropy
optimizer: {type: sgd, lr: 0.01}
train: {epochs: 1, global_batch_size: 20, threads: 1}
YAML
