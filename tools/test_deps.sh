#!/usr/bin/env bash
# Test the lowest and the newest version of each dependency that pyproject.toml allows, each end in an environment of its own.
# What is tested is this checkout; everything else the tests need is pinned.
set -euo pipefail
cd "$(dirname "$0")/.."

for end in lowest newest; do
    venv=".venvs/$end"
    rm -rf "$venv"
    "$PYTHON" -m venv "$venv"
    read -ra requirements <<< "$("$venv/bin/python" tools/pins.py "--$end")"
    echo "== $end: ${requirements[*]}"
    "$venv/bin/python" -m pip install -q --upgrade -c pins.txt pip
    # Without compiled modules of its own: those of the checkout, where there are some for this Python, are used.
    PENSTOCK_NATIVE=0 "$venv/bin/python" -m pip install -q -c pins.txt --build-constraint pins.txt --group test -e .
    "$venv/bin/python" -m pip install -q --upgrade "${requirements[@]}"
    "$venv/bin/python" -m pip list 2>/dev/null | grep -iE "^(click|msgspec|prompt_toolkit|uvloop) "
    "$venv/bin/python" -m pytest -q -n auto --dist worksteal tests/codecs tests/config tests/cli
    rm -rf "$venv"
done
