#!/bin/sh
# Run folders: what is in them, finished and foreign runs, --fresh, --run, --resume, --set.
# shellcheck source=tests/command/lib.sh
. "$(dirname "$0")/lib.sh"
small_recipe

works 1 train small.yaml
says "run folder: runs/small" "test: loss" "(32 samples)"
for file in recipe.yaml metrics.jsonl checkpoints/epoch-0001.h5 checkpoints/epoch-0002.h5 \
    checkpoints/last.h5 checkpoints/best.h5; do
    [ -s runs/small/$file ] || wrong "no runs/small/$file"
done
# No control characters where no person looks.
tr -d '\n\t -~' <out | grep -q . && wrong "control characters: $(cat -v out)"

# Every default is written out, and the resolved recipe gives the same run.
for line in 'name: small' 'momentum: 0' 'shuffle: true' 'threads: 0' 'keep: 3' 'timeout: 300'; do
    grep -q "$line" runs/small/recipe.yaml || wrong "no $line in the resolved recipe"
done
works 1 train runs/small/recipe.yaml --run again
[ "$(metric again/metrics.jsonl epoch loss)" = "$(metric runs/small/metrics.jsonl epoch loss)" ] ||
    wrong "the resolved recipe trains otherwise"

# metrics.jsonl
m=runs/small/metrics.jsonl
[ "$(grep -c '^{"event":".*}$' $m)" = "$(wc -l <$m)" ] || wrong "not one object a line: $(cat $m)"
for key in ranks threads parameters train_samples; do
    [ -n "$(metric $m start $key)" ] || wrong "no $key in start"
done
[ "$(metric $m start parameters)" = 67 ] || wrong "4-8-3 has 67 parameters: $(metric $m start parameters)"
[ "$(metric $m start train_samples)" = 32 ] || wrong "train_samples"
for key in epoch step loss accuracy seconds samples_per_s communication_fraction data_fraction; do
    [ -n "$(metric $m epoch $key)" ] || wrong "no $key in epoch"
done
[ "$(metric $m epoch step)" = 8 ] || wrong "2 epochs of 4 steps: $(metric $m epoch step)"
[ "$(metric $m checkpoint file)" = '"runs/small/checkpoints/last.h5"' ] || wrong "checkpoint record"
[ "$(metric $m test samples)" = 32 ] || wrong "test record"
[ "$(metric $m end status)" = '"finished"' ] || wrong "end record"
for key in seconds peak_rss_mb; do
    [ -n "$(metric $m end $key)" ] || wrong "no $key in end"
done
works 1 train small.yaml --run steps --set train.log_every_steps=1 --set data.validation=0.25
[ "$(grep -c '"event":"step"' steps/metrics.jsonl)" = 6 ] || wrong "not 6 step records"
for key in step loss lr; do
    [ -n "$(metric steps/metrics.jsonl step $key)" ] || wrong "no $key in step"
done
for key in validation_loss validation_accuracy; do
    [ -n "$(metric steps/metrics.jsonl epoch $key)" ] || wrong "no $key in epoch"
done

# Finished, and of another recipe.
fails 2 "runs/small is finished" train small.yaml
fails 2 "another recipe" train small.yaml --set optimizer.lr=0.1
fails 2 "optimizer.lr" train small.yaml --set optimizer.lr=0.1
[ "$(find runs -mindepth 1 -maxdepth 1)" = runs/small ] || wrong "a refusal changed runs/"
# More epochs continue it.
works 2 train small.yaml --set train.epochs=3
[ "$(metric $m start resumed)" = true ] || wrong "not continued for more epochs"
[ "$(metric $m end step)" = 12 ] || wrong "more epochs"
# --fresh keeps what was there, each time.
works 1 train small.yaml --fresh --quiet
works 2 train small.yaml --fresh --set optimizer.lr=0.1
[ "$(find runs -name metrics.jsonl | wc -l)" = 3 ] || wrong "--fresh lost a run: $(find runs)"
[ "$(grep -c '"event":"start"' $m)" = 1 ] || wrong "--fresh did not start anew"

# keep: the newest of the epochs' checkpoints.
works 1 train small.yaml --run kept --set train.epochs=5 --set checkpoint.keep=2
[ "$(cd kept/checkpoints && echo epoch-*)" = "epoch-0004.h5 epoch-0005.h5" ] ||
    wrong "keep 2: $(ls kept/checkpoints)"

# --resume from an older checkpoint ends where the whole run did.
works 1 train small.yaml --run resumed --set train.epochs=5 --resume kept/checkpoints/epoch-0004.h5
[ "$(metric resumed/metrics.jsonl test loss)" = "$(metric kept/metrics.jsonl test loss)" ] ||
    wrong "--resume ends elsewhere"
fails 3 "none.h5" train small.yaml --run other --resume none.h5

# A name given twice: the second run waits for nobody.
works 1 inspect runs/small/checkpoints/last.h5
says "parameters: 67" "name: small" "/params/0_dense/kernel" "4x8"
works 1 inspect data.h5
says "/train/x" "32x4" "/test/y"
finish
