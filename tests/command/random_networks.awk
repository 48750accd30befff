# -v seed=N: a recipe drawn by N for random_networks.sh, whose losses must be the same text on up to
# four ranks: of images (digits.h5), of words with a label (words.h5) or of characters (chars.h5).

# Park and Miller's generator: the same numbers from every awk.
function below(n) {
    state = (state * 16807) % 2147483647
    return int(state / 2147483647 * n)
}
function one(list,  items) { return "" items[1 + below(split(list, items, "|"))] }
function chance(percent) { return below(100) < percent }
function layer(text) { printf "%s- %s\n", indent, text }

function activation() { return one("linear|relu|leaky_relu|gelu|tanh|sigmoid") }
function dense(units) {
    layer("dense: {units: " units ", activation: " activation() ", bias: " one("true|true|false") "}")
}
function plain() {
    layer(one("relu|leaky_relu|gelu|tanh|sigmoid|layer_norm|dropout: {rate: 0.3}"))
}
function windows(size, window, stride, padding) {
    return padding == "same" ? int((size + stride - 1) / stride) : int((size - window) / stride) + 1
}

function convolution(  kernel, stride, padding) {
    kernel = one("1|2|3|3|3|5")
    stride = one("1|1|1|2")
    padding = one("valid|same")
    if (padding == "valid" && (kernel > height || kernel > width))
        return
    channels = one("1|3|8|16|17|32|48")
    layer("conv2d: {filters: " channels ", kernel: " kernel ", strides: " stride ", padding: " \
          padding ", activation: " activation() ", bias: " one("true|true|false") "}")
    height = windows(height, kernel, stride, padding)
    width = windows(width, kernel, stride, padding)
}
function pool(  size, padding) {
    size = one("2|2|3")
    padding = one("valid|same")
    if (height < size || width < size)
        return
    layer(one("max|average") "_pool2d: {size: " size ", padding: " padding "}")
    height = windows(height, size, size, padding)
    width = windows(width, size, size, padding)
}
function images(  i, inner, kind) {
    height = width = 28
    channels = 1
    for (i = below(6); i > 0; i--) {
        kind = below(6)
        if (kind < 3)
            convolution()
        else if (kind == 3)
            pool()
        else if (kind == 4)
            plain()
        else {
            layer("residual:")
            indent = indent "    "
            print indent "layers:"
            layer("conv2d: {filters: " channels ", kernel: 3, padding: same, activation: " \
                  activation() "}")
            for (inner = below(3); inner > 0; inner--)
                plain()
            if (chance(40)) {
                print indent "shortcut:"
                layer("conv2d: {filters: " channels ", kernel: 1}")
            }
            indent = substr(indent, 5)
        }
    }
    layer(one("flatten|global_average_pool"))
    for (i = below(3); i > 0; i--)
        dense(one("3|16|33|64|100|128"))
    layer("dense: {units: 10}")
}

function attention() {
    layer("attention: {heads: " one("1|2|4") ", causal: " one("true|false") ", dropout: " \
          one("0|0|0.2") "}")
}
function sequence(  i, kind) {
    for (i = below(4); i > 0; i--) {
        kind = below(6)
        if (kind == 0) {
            layer("lstm: {units: " channels / 2 ", bidirectional: true, return_sequences: true, " \
                  "dropout: " one("0|0.2") ", recurrent_dropout: " one("0|0.2") "}")
        } else if (kind == 1)
            attention()
        else if (kind == 2) {
            channels = one("8|16|24|64")
            dense(channels)
        } else if (kind == 3)
            plain()
        else if (kind == 4)
            layer("position_embedding: {type: " one("learned|sinusoidal") "}")
        else {
            layer("residual:")
            indent = indent "    "
            print indent "layers:"
            if (chance(50))
                layer("layer_norm")
            if (chance(50))
                attention()
            else {
                dense(2 * channels)
                dense(channels)
            }
            indent = substr(indent, 5)
        }
    }
}
function words() {
    channels = one("8|16")
    layer("embedding: {units: " channels ", mask: " one("true|false") "}")
    sequence()
    layer(one("global_average_pool|lstm: {units: 7}|lstm: {units: 5, bidirectional: true}"))
    layer("dense: {units: 2}")
}
function characters() {
    channels = one("8|16|32")
    layer("embedding: {units: " channels "}")
    sequence()
    layer("dense: {units: 128}")
}

function optimizer(  type) {
    type = one("sgd|adam|adamw|rmsprop|adagrad")
    printf "optimizer: {type: %s, lr: %s", type, one("0.001|0.01")
    if (type == "sgd" && chance(60))
        printf ", momentum: 0.9, nesterov: %s", one("true|false")
    if (chance(30))
        printf ", weight_decay: 0.01"
    if (chance(20))
        printf ", l1: 0.0001"
    if (chance(30))
        printf ", clip_norm: %s", one("0.1|1")
    if (chance(20))
        printf ", clip_value: 0.05"
    if (chance(30))
        printf ", schedule: {warmup_steps: 4}"
    print "}"
}

BEGIN {
    state = seed * 7919 + 1
    for (i = 0; i < 20; i++)
        below(2)
    kind = one("digits|digits|words|chars")
    print "seed: " 1 + below(1000)
    printf "data: {file: %s.h5", kind
    if (kind == "digits") {
        printf ", scale: 0.004"
        if (chance(40))
            printf ", augment: [random_crop: {padding: 2}, %s]", \
                one("flip: both|rotate: {degrees: 15}|zoom: {range: 0.2}")
    }
    if (chance(30))
        printf ", validation: 0.2"
    print "}"
    print "model:"
    indent = "  "
    if (kind == "digits")
        images()
    else if (kind == "words")
        words()
    else
        characters()
    print "loss: cross_entropy"
    optimizer()
    printf "train: {epochs: 9, max_steps: 9, global_batch_size: %d, parts: 4, log_every_steps: 1, tune: off", \
        one(kind == "digits" ? "4|7|33|64" : "4|7|19")
    if (chance(25))
        printf ", microbatch_size: %d", one("1|2|5")
    print "}"
    printf "checkpoint: {every_steps: %d}\n", one("0|2|3")
    if (chance(40))
        printf "comm: {reducer: %s}\n", one("shared|mpi|messages")
}
