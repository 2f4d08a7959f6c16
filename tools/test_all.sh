#!/usr/bin/env bash
# Run the suite on every CPython 3.11 and newer that this machine has, each in an environment of its own. With the argument
# `others`: the codecs, the conformance suite and the native engine, on all but the Python that `make test` takes.
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/interpreters.sh

own= tests= combinations=
if [ "${1:-}" = others ]; then
    own=$(version_of "${PYTHON:-python3}")
    tests="tests/codecs tests/conformance tests/engines/native"
    # Handlers that take a message alone, on the engine of which all those in Python have this.
    combinations="tests/conformance -k 'pure and not tap'"
fi
ran=
while read -r minor version python <&3; do
    if [ "$minor" = "${own%.*}" ]; then
        continue
    fi
    echo "== CPython $version ($python)"
    make --no-print-directory test PYTHON="$python" VENV=".venvs/$minor" PYTEST_ARGS="${PYTEST_ARGS:-} $tests"
    make --no-print-directory combinations PYTHON="$python" VENV=".venvs/$minor" PYTEST_ARGS="${PYTEST_ARGS:-} $combinations"
    ran="$ran $version"
done 3< <(each_cpython)
echo "== ran on:${ran:- no other interpreter, for none is here}"
test -n "$ran$tests"
