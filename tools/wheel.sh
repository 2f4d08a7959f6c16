#!/usr/bin/env bash
# Build a wheel for this Python and this machine, make it fit for others of its kind, install it into a fresh environment, test it there.
set -euo pipefail
cd "$(dirname "$0")/.."

python=$(realpath -s "$BIN/python")
rm -rf build/wheel dist/*.whl .venvs/wheel
"$python" -m pip install -q -c pins.txt --group wheel
"$python" -m pip wheel -q --no-deps --build-constraint pins.txt -w build/wheel .
# It names the oldest C library that the wheel runs with, and refuses one that needs more than that library.
PATH="$BIN:$PATH" "$python" -m auditwheel repair -w dist build/wheel/*.whl

"$python" -m venv .venvs/wheel
installed=$PWD/.venvs/wheel/bin
"$installed/python" -m pip install -q --upgrade -c pins.txt pip
"$installed/python" -m pip install -q -c pins.txt --group test dist/*.whl
# The tests alone, in a place without the sources: what is imported is what the wheel brought.
mkdir -p build/wheel/tests/engines
cp -r tests/conftest.py tests/starter.py tests/combinations.py tests/codecs tests/conformance build/wheel/tests
cp -r tests/engines/native build/wheel/tests/engines
cp -r docs pyproject.toml build/wheel
cd build/wheel
"$installed/python" - <<'END'
import pathlib, sys
import penstock
from penstock.server.choice import native_missing

where = pathlib.Path(penstock.__file__)
assert where.is_relative_to(sys.prefix), f"{where} is not what the wheel brought"
assert native_missing() is None, native_missing()
END
"$installed/penstock" --version
"$installed/python" -m pytest -q -n auto --dist worksteal -m "not full" tests/codecs tests/engines/native tests/conformance \
    -k "codecs or native or attached"
cd ../..
rm -rf .venvs/wheel build/wheel
ls -l dist/*.whl
