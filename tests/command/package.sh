#!/bin/sh
# The Debian packages: made by cpack, looked into, and run out of the folder they unpack into.
# shellcheck source=tests/command/lib.sh
. "$(dirname "$0")/lib.sh"
: "${BUILD:?}" "${VERSION:?}"
for tool in dpkg-deb dpkg-shlibdeps file; do
    command -v $tool >/dev/null || skip "there is no $tool: packages are not made"
done
if ldd "$COHORT" | grep -q san; then skip 'a sanitized program is not packaged'; fi

cpack --config "$BUILD/CPackConfig.cmake" -G DEB -B "$work/debs" >cpack.log 2>&1 ||
    wrong "cpack: $(tail -n 5 cpack.log)"
for package in cohort libcohort0 libcohort-dev; do
    file=$(find debs -maxdepth 1 -name "${package}_*.deb")
    [ -n "$file" ] || {
        wrong "no package $package"
        continue
    }
    dpkg-deb --field "$file" >control
    grep -q "^Version: $VERSION-" control || wrong "$package: $(cat control)"
    grep -q '^Description: distributed neural-network training' control || wrong "$package: no description"
    dpkg-deb -x "$file" root
    [ -s root/usr/share/doc/$package/copyright ] || wrong "$package has no copyright file"
    eval "depends_$(echo $package | tr -d -)=\$(sed -n 's/^Depends: //p' control)"
done
# shellcheck disable=SC2154
for library in libopenmpi libhdf5 libopenblas libsodium libyaml openmpi-bin libc6; do
    case $depends_cohort in *$library*) ;; *) wrong "cohort does not depend on $library" ;; esac
done
# shellcheck disable=SC2154
case $depends_libcohortdev in *"libcohort0 (= $VERSION-"*) ;; *) wrong "libcohort-dev: $depends_libcohortdev" ;; esac
for file in bin/cohort share/man/man1/cohort-train.1.gz share/man/man5/cohort-recipe.5.gz \
    share/bash-completion/completions/cohort share/fish/vendor_completions.d/cohort.fish \
    share/cohort/recipes/xor.yaml include/cohort/cohort.h share/cohort/examples/predict.c; do
    [ -s root/usr/$file ] || wrong "no $file in the packages"
done
COHORT=$work/root/usr/bin/cohort
works 1 --version
says "cohort $VERSION"
works 1 convert digits --train 200 --test 50 --output digits.h5
works 2 train "$work/root/usr/share/cohort/recipes/digits-cnn.yaml" --set data.file="$work/digits.h5" \
    --set train.epochs=1 --run run
says 'test: loss'
finish
