#!/usr/bin/env bash
# Run the suite on every CPython 3.11 and newer that this machine has, each in an environment of its own. With the argument
# `others`: the codecs, the conformance suite and the native engine, on all but the Python that `make test` takes.
set -euo pipefail
cd "$(dirname "$0")/.."

interpreters() {
    for name in python3.11 python3.12 python3.13 python3.14 "${PYTHON:-python3}"; do
        command -v "$name" || true
    done
    ls -1 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[1-9].*/bin/python 2>/dev/null || true
}

version_of() {
    "$1" -c 'import platform, sys
print(platform.python_version() if sys.version_info >= (3, 11) and sys.implementation.name == "cpython" else "")' 2>/dev/null || true
}

seen=" "
tests=
if [ "${1:-}" = others ]; then
    own=$(version_of "${PYTHON:-python3}")
    seen=" ${own%.*} "
    tests="tests/codecs tests/conformance tests/engines/native"
fi
ran=
for python in $(interpreters); do
    version=$(version_of "$python")
    minor=${version%.*}
    if [ -z "$version" ] || [[ "$seen" == *" $minor "* ]]; then
        continue
    fi
    seen="$seen$minor "
    echo "== CPython $version ($python)"
    make --no-print-directory test PYTHON="$python" VENV=".venvs/$minor" PYTEST_ARGS="${PYTEST_ARGS:-} $tests"
    ran="$ran $version"
done
echo "== ran on:${ran:- no other interpreter, for none is here}"
test -n "$ran$tests"
