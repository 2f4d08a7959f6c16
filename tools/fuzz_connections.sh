#!/usr/bin/env bash
# Run fuzz/connections.py for SECONDS_EACH (600) on each CPython of this machine, or on those that VERSIONS names: built with
# AddressSanitizer, then as a debug build, whose census has to be zero; half of the time over TLS. On CPython 3.12 and newer a part of the loops has eager
# tasks.
#
# Each build has a copy of the source of its own in build/fuzz-connections: compiled modules of the checkout stay as they are.
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/interpreters.sh
seconds=${SECONDS_EACH:-600}
top=build/fuzz-connections
ran=
while read -r version full python <&3; do
    if [ -n "${VERSIONS:-}" ] && [[ " $VERSIONS " != *" $version "* ]]; then
        continue
    fi
    for kind in asan debug; do
        tree=$top/$version-$kind
        rm -rf "$tree"
        mkdir -p "$tree"
        cp -r src fuzz setup.py pyproject.toml README.md LICENSE pins.txt "$tree" 2>/dev/null || true
        find "$tree/src" -name "*.so" -delete
        "$python" -m venv "$tree/.venv"
        "$tree/.venv/bin/python" -m pip install -q --constraint pins.txt cython setuptools uvloop msgspec trustme
        flags=() preload=()
        if [ "$kind" = asan ]; then
            flags=(CFLAGS="-fsanitize=address -fno-omit-frame-pointer -g" LDFLAGS="-fsanitize=address")
            preload=(LD_PRELOAD="$(${CC:-gcc} -print-file-name=libasan.so)" ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc)
        fi
        (cd "$tree" && env "${flags[@]}" PENSTOCK_DEBUG=1 .venv/bin/python setup.py -q build_ext --inplace)
        for engine in native attached; do
            echo "== CPython $full $kind $engine"
            for tls in "" --tls; do
                (cd "$tree" && env "${preload[@]}" PYTHONPATH=src .venv/bin/python fuzz/connections.py --engine "$engine" $tls --seconds $((seconds / 4)))
            done
        done
    done
    for engine in pure uvloop blocking; do
        echo "== CPython $full $engine"
        for tls in "" --tls; do
            (cd "$top/$version-debug" && PYTHONPATH=src .venv/bin/python fuzz/connections.py --engine "$engine" $tls --seconds $((seconds / 20)))
        done
    done
    ran="$ran $full"
done 3< <(each_cpython)
echo "== ran on:${ran:- no interpreter: none of those is here}"
test -n "$ran"
