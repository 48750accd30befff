#!/bin/sh
# The examples: a simulation that trains a surrogate of itself beside it, and a loader.
# shellcheck source=tests/command/lib.sh
. "$(dirname "$0")/lib.sh"
: "${HEAT:?}" "${PREDICT:?}" "${CC:?}"

# The headers are a user's: alone, in any order, in C99 and in C++.
for header in "$SOURCE"/include/cohort/*.h; do
    name=cohort/$(basename "$header")
    printf '#include <%s>\n#include <%s>\nint used;\n' "$name" "$name" >alone.c
    "$CC" -std=c99 -Wall -Wextra -pedantic -Werror -I"$SOURCE/include" -c alone.c -o alone.o \
        >cc.log 2>&1 || wrong "$name in C99: $(cat cc.log)"
    if command -v c++ >/dev/null; then
        c++ -x c++ -Wall -Wextra -pedantic -Werror -I"$SOURCE/include" -c alone.c -o alone.o \
            >cc.log 2>&1 || wrong "$name in C++: $(cat cc.log)"
    fi
done

# Four ranks train while two simulate; the surrogate is ten times as good as a linear fit.
timeout 240 "$SOURCE/launch/mpirun.sh" 6 "$HEAT" heat.h5 >out 2>err || wrong "heat: $(cat err)"
[ ! -s err ] || wrong "heat says $(cat err)"
[ "$(grep -c '^step ' out)" = 5 ] || wrong "heat prints $(cat out)"
factor=$(sed -n 's/^surrogate:.* factor \([0-9.]*\)$/\1/p' out)
holds "${factor:-0} >= 10" || wrong "the surrogate is $factor times as good: $(cat out)"

# Its checkpoint is one like others: the program and the loader read it.
works 1 inspect heat.h5
says 'dense'
echo '0.5 0.5 0.5 0.5 0.1 0.9 0.5 0.2' | timeout 60 "$PREDICT" heat.h5 >out 2>err ||
    wrong "predict: $(cat err)"
[ "$(awk 'NF == 9' out | wc -l)" = 2 ] || wrong "predict prints $(cat out)"
# A spot in the middle is felt most by the sensor in the middle, and alike on both sides.
awk 'NR == 1 { for (i = 1; i <= 9; i++) if (i != 5 && $i >= $5) exit 1
               exit ($2 - $8) ^ 2 > 0.1 }' out || wrong "the middle is not the warmest: $(cat out)"
echo 'not a model' >bad.h5
timeout 60 "$PREDICT" bad.h5 >out 2>err </dev/null && wrong 'predict takes what is no model'
[ "$(wc -l <err)" = 1 ] || wrong "predict complains in $(wc -l <err) lines"
timeout 60 "$HEAT" >out 2>err && wrong 'heat runs on one rank'
finish
