#!/bin/sh
# fetch.sh NAME [--mirror DIR] [--output DIR|FILE.h5] [-- CONVERT-OPTIONS…]
#
# Fetches a public data set from its official place, checks it, and converts it with
# `cohort convert`. NAME is mnist, cifar10, imdb or shakespeare.
#
#   --mirror DIR   takes the files from a local folder instead of the network
#   --output DIR   where NAME.h5 goes (default: this folder), or a file name ending in .h5
#   -- OPTIONS     are handed to cohort convert: -- --length 400 --ngrams 2
#
# Downloads are kept in downloads/ beside this script. The program is $COHORT, else the
# one built in build/, else the one on the PATH.
set -eu
LC_ALL=C
export LC_ALL

here=$(cd "$(dirname "$0")" && pwd)
downloads=$here/downloads
work=''

fail() { # STATUS MESSAGE
    echo "fetch.sh: $2" >&2
    exit "$1"
}

usage() {
    sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p;}' "$0"
}

clean_up() {
    [ -z "$work" ] || rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# A folder that is gone when we are, on the disk of the downloads.
make_work() {
    mkdir -p "$downloads" || fail 3 "cannot make the folder $downloads"
    work=$(mktemp -d "$downloads/.unpack.XXXXXX") || fail 3 "cannot write in $downloads"
}

absolute() { # PATH
    case $1 in
    /*) echo "$1" ;;
    *) echo "$PWD/$1" ;;
    esac
}

find_cohort() {
    for candidate in "${COHORT:-}" "$here/../build/src/cli/cohort" "$(command -v cohort || :)"; do
        if [ -n "$candidate" ] && [ -x "$candidate" ]; then
            cohort=$(absolute "$candidate")
            return
        fi
    done
    fail 1 "no cohort program: build it (cmake -S . -B build && cmake --build build) or set COHORT"
}

# The checksum of FILE's content: of the decompressed bytes for .gz, so that a file that
# was compressed anew passes too.
content_sha256() { # FILE
    case $1 in
    *.gz) gzip -dc "$1" 2>/dev/null | sha256sum ;;
    *) sha256sum <"$1" ;;
    esac | cut -d ' ' -f 1
}

file_md5() { # FILE
    md5sum <"$1" | cut -d ' ' -f 1
}

verify() { # FILE KIND CHECKSUM
    got=$("$2" "$1")
    [ "$got" = "$3" ] ||
        fail 3 "$1 is damaged or not the official file (checksum $got, expected $3); delete it and fetch again"
}

# Downloads the first of URL… that answers into FILE, which appears only when complete
# and right.
download() { # FILE KIND CHECKSUM URL…
    file=$1 kind=$2 checksum=$3
    shift 3
    mkdir -p "$downloads" || fail 3 "cannot make the folder $downloads"
    part=$work/part-$(basename "$file")
    for url in "$@"; do
        echo "fetching $url"
        if get "$part" "$url"; then
            got=$("$kind" "$part")
            if [ "$got" = "$checksum" ]; then
                mv "$part" "$file"
                return
            fi
            echo "fetch.sh: $url gave something else (checksum $got)" >&2
        fi
        rm -f "$part"
    done
    fail 3 "cannot fetch $(basename "$file"); check the network, or copy it into a folder and use --mirror"
}

get() { # FILE URL
    if command -v curl >/dev/null; then
        if [ -t 2 ]; then
            curl -fL --retry 3 --progress-bar -o "$1" "$2"
        else
            curl -fsSL --retry 3 -o "$1" "$2"
        fi
    elif command -v wget >/dev/null; then
        wget -q --tries=3 -O "$1" "$2"
    else
        fail 1 "neither curl nor wget is installed; install one, or use --mirror"
    fi
}

# Sets `found` to the first of NAME… that DIR has; fails if there is none.
find_in() { # DIR NAME…
    folder=$1
    shift
    for name in "$@"; do
        if [ -e "$folder/$name" ]; then
            found=$name
            return
        fi
    done
    return 1
}

mirror_lacks() { # NAMES
    fail 3 "$mirror has none of: $1"
}

# cohort convert in DIR, so that the file records names without our folders.
convert() { # DIR FILE FORMAT ARGUMENT…
    folder=$1 target=$2
    shift 2
    (cd "$folder" && "$cohort" convert "$@" --output "$target") || exit $?
}

fetch_mnist() {
    source=${mirror:-$downloads}
    files=''
    for line in \
        train-images:3:ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db \
        train-labels:1:65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5 \
        t10k-images:3:0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7 \
        t10k-labels:1:ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2; do
        stem=${line%%:*} sum=${line##*:}
        rank=${line#*:} rank=${rank%%:*}
        dash=$stem-idx$rank-ubyte dot=$stem.idx$rank-ubyte
        if ! find_in "$source" "$dash.gz" "$dash" "$dot.gz" "$dot"; then
            [ -z "$mirror" ] || mirror_lacks "$dash.gz $dash $dot.gz $dot"
            found=$dash.gz
            download "$downloads/$found" content_sha256 "$sum" \
                "https://ossci-datasets.s3.amazonaws.com/mnist/$found" \
                "https://storage.googleapis.com/cvdf-datasets/mnist/$found"
        fi
        verify "$source/$found" content_sha256 "$sum"
        files="$files $found"
    done
    # shellcheck disable=SC2086 # four names without blanks
    convert "$source" "$target" idx $files "$@"
}

fetch_cifar10() {
    archive=cifar-10-binary.tar.gz
    source=${mirror:-$downloads}
    if ! find_in "$source" cifar-10-batches-bin "$archive" cifar10-jpeg.tar.xz; then
        [ -z "$mirror" ] || mirror_lacks "cifar-10-batches-bin/ $archive cifar10-jpeg.tar.xz"
        found=$archive
        download "$downloads/$archive" file_md5 c32a1d4ab5d03f1284b67883e8d87530 \
            "https://www.cs.toronto.edu/~kriz/$archive"
    fi
    case $found in
    "$archive")
        verify "$source/$archive" file_md5 c32a1d4ab5d03f1284b67883e8d87530
        tar -xzf "$source/$archive" -C "$work" || fail 3 "cannot unpack $source/$archive"
        source=$work
        ;;
    cifar10-jpeg.tar.xz)
        unpack_jpegs "$source"
        source=$work
        ;;
    esac
    convert "$source" "$target" cifar10 cifar-10-batches-bin "$@"
}

unpack_jpegs() { # DIR
    [ -r "$1/unpack_cifar10.py" ] || fail 3 "$1 has cifar10-jpeg.tar.xz but no unpack_cifar10.py"
    for python in python3 /usr/bin/python3; do
        if "$python" -c 'import PIL, numpy' 2>/dev/null; then
            "$python" "$1/unpack_cifar10.py" "$work" || fail 3 "cannot unpack $1/cifar10-jpeg.tar.xz"
            return
        fi
    done
    fail 1 "unpacking cifar10-jpeg.tar.xz needs Python's PIL and numpy: apt install python3-pil python3-numpy"
}

fetch_imdb() {
    archive=aclImdb_v1.tar.gz
    source=${mirror:-$downloads}
    if ! find_in "$source" aclImdb "$archive" aclImdb-labelled.tar.xz; then
        [ -z "$mirror" ] || mirror_lacks "aclImdb/ $archive aclImdb-labelled.tar.xz"
        found=$archive
        download "$downloads/$archive" file_md5 7c2ac02c03563afcf9b574c7e56c153a \
            "https://ai.stanford.edu/~amaas/data/sentiment/$archive"
    fi
    if [ "$found" != aclImdb ]; then
        [ "$found" != "$archive" ] ||
            verify "$source/$archive" file_md5 7c2ac02c03563afcf9b574c7e56c153a
        # The unlabelled reviews, half of the archive, are not used.
        tar -xf "$source/$found" -C "$work" aclImdb/train/pos aclImdb/train/neg \
            aclImdb/test/pos aclImdb/test/neg || fail 3 "cannot unpack $source/$found"
        source=$work
    fi
    convert "$source" "$target" text aclImdb "$@"
}

fetch_shakespeare() {
    sum=86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed
    source=${mirror:-$downloads}
    if ! find_in "$source" tinyshakespeare.txt input.txt; then
        [ -z "$mirror" ] || mirror_lacks "tinyshakespeare.txt input.txt"
        found=tinyshakespeare.txt
        download "$downloads/$found" content_sha256 "$sum" \
            https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt
    fi
    verify "$source/$found" content_sha256 "$sum"
    convert "$source" "$target" chars "$found" "$@"
}

name='' mirror='' output=$here
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help)
        usage
        exit 0
        ;;
    --mirror | --output)
        [ $# -ge 2 ] || fail 2 "$1 needs a value"
        if [ "$1" = --mirror ]; then mirror=$2; else output=$2; fi
        shift
        ;;
    --mirror=*) mirror=${1#*=} ;;
    --output=*) output=${1#*=} ;;
    --)
        shift
        break
        ;;
    -*) fail 2 "unknown option $1; fetch.sh --help shows what there is" ;;
    *)
        [ -z "$name" ] || fail 2 "one data set at a time: $name or $1"
        name=$1
        ;;
    esac
    shift
done

case $name in
mnist | cifar10 | imdb | shakespeare) ;;
'') fail 2 "which data set? mnist, cifar10, imdb or shakespeare" ;;
*) fail 2 "unknown data set \"$name\": mnist, cifar10, imdb or shakespeare" ;;
esac
if [ -n "$mirror" ]; then
    [ -d "$mirror" ] || fail 3 "the mirror $mirror is not a folder"
    mirror=$(absolute "$mirror")
fi
case $output in
*.h5) target=$(absolute "$output") ;;
*) target=$(absolute "$output")/$name.h5 ;;
esac
mkdir -p "$(dirname "$target")" || fail 3 "cannot make the folder $(dirname "$target")"
find_cohort
make_work
"fetch_$name" "$@"
