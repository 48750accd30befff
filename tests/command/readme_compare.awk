# compare WANTED GOT: whether a README prints what the program does. The rules:
#   * words are compared, not the blanks between them
#   * "…" (also "…,") stands for any words, and alone on a line for any lines
#   * numbers with a point, and percentages, may differ by 5 % or 0.02, whichever is more: rounding
#     differs from one kind of CPU to the next, and training makes more of it
#   * times (0.3s, 12 ms, 2 min) and rates (1234 samples/s) are not compared
#   * what a slow machine prints on the way through an epoch ("… left") is left out
function mask(line) {
    gsub(/[0-9.]+ (samples|steps|tokens|GFLOP)\/s/, "RATE", line)
    gsub(/ [0-9.]+ ?(s|ms|us|min)( |$|,)/, " TIME ", line)
    return line
}

function is_real(word) {
    return word ~ /^-?[0-9]+\.[0-9]+(e[-+]?[0-9]+)?[%,)]?$/ || word ~ /^-?[0-9]+(\.[0-9]+)?%[,)]?$/
}

function is_same(a, b, x, y, d, s) {
    if (a == b) return 1
    if (!is_real(a) || !is_real(b)) return 0
    x = a + 0; y = b + 0; d = x - y; s = x
    if (d < 0) d = -d
    if (s < 0) s = -s
    if (a ~ /%/) return d <= 2
    return d <= 0.02 || d <= 0.05 * s
}

# Words i… of the wanted line against words k… of the other.
function match_words(i, k) {
    for (; i <= wn; i++) {
        if (ww[i] ~ /^…/) {
            for (; k <= gn + 1; k++) if (match_words(i + 1, k)) return 1
            return 0
        }
        if (k > gn || !is_same(ww[i], gw[k])) return 0
        k++
    }
    return k == gn + 1
}

function match_line(a, b) {
    wn = split(mask(a), ww, " ")
    gn = split(mask(b), gw, " ")
    return match_words(1, 1)
}

NR == FNR { want[++wants] = $0; next }

/^epoch .* left$/ { next }

{ got[++gots] = $0 }

END {
    k = 1
    for (i = 1; i <= wants; i++) {
        if (want[i] == "…") { skip = 1; continue }
        while (skip && k <= gots && !match_line(want[i], got[k])) k++
        if (k > gots || !match_line(want[i], got[k])) {
            print "wanted: " want[i]
            print "got:    " (k <= gots ? got[k] : "nothing more")
            exit 1
        }
        skip = 0
        k++
    }
    if (!skip && k <= gots) {
        print "not wanted: " got[k]
        exit 1
    }
}
