#!/bin/sh
# Whatever is wrong: the right exit code and one line, on 1 and on 2 ranks.
# shellcheck source=tests/command/lib.sh
. "$(dirname "$0")/lib.sh"
small_recipe
"$MAKE_H5" image image.h5

# The command line.
fails 2 "there is no command 'trian'; did you mean 'train'" trian small.yaml
fails 2 "RECIPE" train
fails 2 "small.yaml" train small.yaml small.yaml
fails 2 "--fresh" train small.yaml --frsh
fails 2 "--run" train small.yaml --run
fails 2 "--output" predict model.h5 data.h5
fails 2 "--output" init small.yaml

# The recipe.
fails 2 "none.yaml" train none.yaml
fails 2 "did you mean" train small.yaml --set optimizer.lrr=0.1
fails 2 "optimizer.lr" train small.yaml --set optimizer.lr=-1
fails 2 "optimizer.lr" train small.yaml --set optimizer.lr=fast
sed 's/lr: 0.01/learning_rat: 0.01/' small.yaml >bad.yaml
fails 2 "bad.yaml:8: " train bad.yaml
fails 2 "learning_rat" train bad.yaml
sed 's/epochs: 2/epoch: 2/' small.yaml >bad.yaml
fails 2 'bad.yaml:10: ' train bad.yaml
fails 2 "did you mean 'epochs'" train bad.yaml
sed 's/dense: {units: 3}/dens: {units: 3}/' small.yaml >bad.yaml
fails 2 'bad.yaml:6: ' train bad.yaml
fails 2 "did you mean 'dense'" train bad.yaml
sed 's/^train:/train: {}\ntrain:/' small.yaml >bad.yaml
fails 2 "train" train bad.yaml
printf 'name: [unclosed' >bad.yaml
fails 2 "bad.yaml:" train bad.yaml

# A network that does not fit the data.
fails 2 "flatten" train small.yaml --set data.file=image.h5
sed 's/dense: {units: 8, activation: relu}/conv2d: {filters: 2, kernel: 9}/; s/data.h5/image.h5/' \
    small.yaml >bad.yaml
fails 2 "9x9 does not fit into 6x6x1" train bad.yaml
sed 's/dense: {units: 8, activation: relu}/conv2d: {filters: 2, kernel: 3}/' small.yaml >bad.yaml
fails 2 "conv2d" train bad.yaml

# The data.
fails 3 "none.h5" train small.yaml --set data.file=none.h5
head -c 1500 data.h5 >cut.h5
fails 3 "cut.h5" train small.yaml --set data.file=cut.h5
echo "no HDF5 at all" >text.h5
fails 3 "text.h5" train small.yaml --set data.file=text.h5
: >empty.h5
fails 3 "empty.h5" train small.yaml --set data.file=empty.h5
fails 3 "not a regular file" train small.yaml --set data.file=.
fails 3 "labels" train small.yaml --set data.y=labels
fails 3 "tran" train small.yaml --set data.train=tran
for kind in nan label negative lengths; do
    "$MAKE_H5" $kind $kind.h5
done
fails 3 "nan.h5" train small.yaml --set data.file=nan.h5
fails 3 "label 7" train small.yaml --set data.file=label.h5
fails 3 "label -2" train small.yaml --set data.file=negative.h5
fails 3 "32" train small.yaml --set data.file=lengths.h5
fails 3 "30" train small.yaml --set data.file=lengths.h5

# Nothing of all this has left a run folder.
[ ! -e runs ] || wrong "a refused run left $(find runs)"

# Places that cannot be written.
: >file
fails 3 "file" train small.yaml --run file
fails 3 "file/run" train small.yaml --run file/run
fails 3 "/proc/none" train small.yaml --run /proc/none
fails 3 "file/x.h5" init small.yaml --output file/x.h5

# Models.
works 1 init small.yaml --output model.h5
fails 3 "none.h5" eval none.h5
fails 3 "data.h5" eval data.h5
head -c 3000 model.h5 >cut.h5
fails 3 "cut.h5" eval cut.h5
fails 3 "none.h5" eval model.h5 --data none.h5
fails 3 "dev" eval model.h5 --split dev
fails 3 "image.h5" eval model.h5 --data image.h5
fails 3 "nan.h5" eval model.h5 --data nan.h5
fails 3 "label 7" eval model.h5 --data label.h5
fails 3 "image.h5" predict model.h5 image.h5 --output out.h5
fails 2 "out.txt" predict model.h5 data.h5 --output out.txt
fails 3 "file/out.h5" predict model.h5 data.h5 --output file/out.h5
fails 3 "file/out.csv" predict model.h5 data.h5 --output file/out.csv
fails 3 "none.h5" inspect none.h5
fails 3 "cut.h5" inspect cut.h5

# A learning rate far too high.
fails 4 "lr" train small.yaml --set optimizer.lr=1e30 --set train.epochs=50
finish
