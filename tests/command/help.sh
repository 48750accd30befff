#!/bin/sh
# Help texts: everywhere, complete, on stdout; one copy from several ranks.
# shellcheck source=tests/command/lib.sh
. "$(dirname "$0")/lib.sh"

for way in help --help -h; do
    works 1 $way
    for command in train launch bench check eval predict generate init inspect convert export \
        import report diff; do
        grep -q "^  $command  *[A-Z]" out || wrong "$way does not list $command"
    done
    says "help recipe" "--version" "usage: cohort COMMAND"
done

works 1 --version
head -n 1 out | grep -q '^cohort [0-9]*\.[0-9]*\.[0-9]*$' || wrong "version: $(cat out)"
says MPI OpenBLAS "HDF5 1." oneDNN libyaml libsodium jansson zlib libpng libjpeg "built as"

# help COMMAND and COMMAND --help are the same, whatever else is on the line.
for command in train bench eval predict init inspect convert export import; do
    works 1 help $command
    says "usage: cohort $command "
    cp out before
    works 1 $command --help
    cmp -s before out || wrong "help $command and $command --help differ"
    works 2 $command --help
    cmp -s before out || wrong "$command --help on two ranks: $(cat out)"
done
works 1 train recipe.yaml --fresh --help
says "usage: cohort train" "--set KEY=VALUE" "--run DIR" "--fresh" "--resume FILE"
works 1 help eval
says "--data FILE" "--split GROUP" "--json"
works 1 help predict
says "--output" "--split GROUP"

for format in idx cifar10 csv text chars digits images npz hdf5; do
    works 1 convert --help
    says "  $format "
    works 1 convert $format --help
    says "usage: cohort convert $format" "--output FILE.h5"
done

# Every key of a recipe, every layer, every loss.
works 1 help recipe
for key in name seed data file train test validation x y scale mean std memory_limit shuffle \
    augment random_crop flip rotate zoom model loss optimizer type lr momentum nesterov beta1 beta2 \
    rho epsilon weight_decay l1 clip_norm clip_value schedule warmup_steps epochs max_steps \
    global_batch_size microbatch_size threads log_every_steps early_stopping metric patience \
    checkpoint every_epochs every_steps keep comm timeout \
    dense conv2d max_pool2d average_pool2d global_average_pool flatten relu gelu tanh sigmoid \
    softmax leaky_relu dropout batch_norm layer_norm embedding position_embedding lstm attention \
    residual cross_entropy binary_cross_entropy mse huber; do
    grep -qw -- "$key" out || wrong "help recipe does not know $key"
done

fails_on 1 2 "did you mean 'train'" help trainn
fails_on 1 2 "there is no command" nothing
ranks 1 >out 2>err
[ $? = 2 ] || wrong "no command: exit code is not 2"
grep -q "usage: cohort" err || wrong "no command: no usage"
# A full disk under stdout is a failure too.
if [ -e /dev/full ]; then
    "$COHORT" help recipe >/dev/full 2>err
    [ $? = 3 ] || wrong "a full disk under stdout goes unnoticed: $(cat err)"
fi
finish
