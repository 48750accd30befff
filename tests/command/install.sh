#!/bin/sh
# cmake --install, then a program of a user's own that finds the library by pkg-config
# and by CMake, and trains.
# shellcheck source=tests/command/lib.sh
. "$(dirname "$0")/lib.sh"
: "${BUILD:?}" "${CC:?}"

cmake --install "$BUILD" --prefix "$work/root" >install.log 2>&1 ||
    wrong "cmake --install: $(tail -n 3 install.log)"
pc=$(find root -name cohort.pc)
libdir=$work/$(dirname "$(find root -name libcohort.so)")
[ -n "$pc" ] || wrong 'no pkg-config file was installed'
for file in cohort.h net.h arrays.h train.h status.h cohort.f90; do
    [ -e root/include/cohort/$file ] || wrong "include/cohort/$file was not installed"
done
for command in $("$COHORT" help | sed -n 's/^  \([a-z]*\)  *[A-Z].*/\1/p' | grep -v '^help$'); do
    page=root/share/man/man1/cohort-$command.1.gz
    [ -e "$page" ] || wrong "no manual page for $command was installed"
    ! command -v mandoc >/dev/null || zcat "$page" | mandoc -T lint -W warning >lint ||
        wrong "the manual page of $command: $(head -n 1 lint)"
done
zcat root/share/man/man5/cohort-recipe.5.gz | grep -q weight_decay || wrong 'cohort-recipe(5) lacks keys'
for file in bash-completion/completions/cohort zsh/site-functions/_cohort fish/vendor_completions.d/cohort.fish; do
    grep -q safetensors "root/share/$file" || wrong "share/$file knows no formats"
done
[ -e root/share/cohort/recipes/xor.yaml ] || wrong 'no recipes were installed'

cat >use.c <<'C'
#include <cohort/train.h>
#include <stdio.h>

int main(void)
{
    cohort_status status = cohort_train(NULL, "net.yaml", NULL, 0, "run");
    printf("%s: %s\n", cohort_version(), cohort_status_text(status));
    if (status != COHORT_OK)
        fprintf(stderr, "%s\n", cohort_error_message());
    return cohort_status_exit_code(status);
}
C
PKG_CONFIG_PATH=$work/$(dirname "$pc")
export PKG_CONFIG_PATH
# shellcheck disable=SC2046
"$CC" -std=c11 -Wall -Wextra -pedantic -Werror use.c $(pkg-config --cflags --libs cohort) \
    -o use >cc.log 2>&1 || wrong "a program does not build by pkg-config: $(cat cc.log)"

# shellcheck disable=SC2046
"$CC" -std=c99 -Wall -Wextra -pedantic -Werror root/share/cohort/examples/predict.c \
    $(pkg-config --cflags --libs cohort) -o predict >cc.log 2>&1 ||
    wrong "the installed example does not build: $(cat cc.log)"

"$COHORT" convert digits --train 200 --test 50 --output digits.h5 >/dev/null || wrong 'digits'
cat >net.yaml <<'Y'
data: {file: digits.h5, scale: 0.004}
model: [flatten, dense: {units: 10}]
loss: cross_entropy
train: {epochs: 1, threads: 1}
Y
# Built with a sanitizer the library needs its run-time loaded first: then only the build counts.
if ! ldd "$libdir/libcohort.so" | grep -q san; then
    LD_LIBRARY_PATH=$libdir ./use >out 2>err || wrong "the program: $(cat err)"
    grep -q 'no error' out || wrong "the program printed $(cat out)"
    [ ! -s err ] || wrong "the library printed $(cat err)"
    [ -e run/checkpoints/last.h5 ] || wrong 'the library wrote no checkpoint'
    seq 0 783 | LD_LIBRARY_PATH=$libdir ./predict run >out 2>err || wrong "predict: $(cat err)"
    [ "$(awk 'NF == 10' out | wc -l)" = 1 ] || wrong "predict prints $(cat out)"
    LD_LIBRARY_PATH=$libdir ./use >out 2>err && wrong 'a finished run was not refused'
    grep -q 'is finished' err || wrong "the refusal says $(cat err)"
fi

# The static library needs no libcohort.so when the program runs.
# shellcheck disable=SC2046
"$CC" -std=c11 use.c $(pkg-config --cflags cohort) "$libdir/libcohort.a" \
    $(pkg-config --static --libs cohort | sed 's/ -lcohort / /') -o use_static >cc.log 2>&1 ||
    ldd "$libdir/libcohort.so" | grep -q san || wrong "static linking: $(tail -n 3 cc.log)"
if [ -x use_static ]; then
    ldd use_static | grep -q libcohort && wrong 'the static program needs libcohort.so'
    rm -rf run
    ./use_static >out 2>err || wrong "the static program: $(cat err)"
fi

# The modulefile sets what a user needs; it is Tcl.
modulefile=$(find root/share/modulefiles/cohort -type f)
[ -n "$modulefile" ] || wrong 'no modulefile was installed'
if command -v tclsh >/dev/null; then
    cat >module.tcl <<'T'
foreach name {module-whatis conflict} { proc $name args {} }
proc prepend-path {name value} { puts "$name $value" }
proc append-path {name value} {}
source [lindex $argv 0]
T
    tclsh module.tcl "$modulefile" >out 2>err || wrong "the modulefile: $(cat err)"
    grep -qx "PATH $work/root/bin" out || wrong "the modulefile sets $(cat out)"
    while read -r name folder; do
        [ -d "$folder" ] || wrong "the modulefile sets $name to $folder, which is not there"
    done <out
fi

# Into a staging folder and away again; what others have there stays.
mkdir -p stage/opt/share/man/man1
echo other >stage/opt/share/man/man1/other.1
DESTDIR=$work/stage cmake --install "$BUILD" --prefix /opt >install.log 2>&1 ||
    wrong "cmake --install under DESTDIR: $(tail -n 3 install.log)"
[ -x stage/opt/bin/cohort ] || wrong 'DESTDIR is not heeded'
grep -rq "$work/stage" stage/opt/lib* stage/opt/share/modulefiles --include='*.pc' --include='*.cmake' &&
    wrong 'files name the staging folder'
DESTDIR=$work/stage cmake -P "$BUILD/uninstall.cmake" >install.log 2>&1 ||
    wrong "uninstall: $(tail -n 3 install.log)"
[ "$(find stage -type f -o -type l)" = stage/opt/share/man/man1/other.1 ] ||
    wrong "uninstall leaves $(find stage -type f -o -type l | head)"
find stage -name '*cohort*' | grep . && wrong 'uninstall leaves folders'
cmake -P "$BUILD/uninstall.cmake" >install.log 2>&1 && wrong 'a second uninstall goes unnoticed'
tr -s ' \n' ' ' <install.log | grep -q 'nothing was installed' || wrong "a second uninstall: $(cat install.log)"

mkdir consumer
cp use.c consumer
cat >consumer/CMakeLists.txt <<'C'
cmake_minimum_required(VERSION 3.25)
project(consumer LANGUAGES C)
find_package(cohort 0.1 REQUIRED)
add_executable(use use.c)
target_link_libraries(use PRIVATE cohort::cohort)
C
{
    cmake -S consumer -B consumer/build -DCMAKE_PREFIX_PATH="$work/root" -DCMAKE_C_COMPILER="$CC" &&
        cmake --build consumer/build
} >cmake.log 2>&1 ||
    wrong "a program does not build by find_package: $(tail -n 5 cmake.log)"
if ! ldd "$libdir/libcohort.so" | grep -q san; then
    rm -rf run
    ./consumer/build/use >out 2>err || wrong "the program built by find_package: $(cat err)"
fi
finish
