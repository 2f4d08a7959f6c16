#!/usr/bin/env bash
# Run the suite on every CPython 3.11 and newer that this machine has, each in an environment of its own.
set -euo pipefail
cd "$(dirname "$0")/.."

interpreters() {
    for name in python3.11 python3.12 python3.13 python3.14 "${PYTHON:-python3}"; do
        command -v "$name" || true
    done
    ls -1 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[1-9].*/bin/python 2>/dev/null || true
}

seen=" "
ran=0
for python in $(interpreters); do
    version=$("$python" -c 'import platform, sys
print(platform.python_version() if sys.version_info >= (3, 11) and sys.implementation.name == "cpython" else "")' 2>/dev/null || true)
    minor=${version%.*}
    if [ -z "$version" ] || [[ "$seen" == *" $minor "* ]]; then
        continue
    fi
    seen="$seen$minor "
    echo "== CPython $version ($python)"
    make --no-print-directory test PYTHON="$python" VENV=".venvs/$minor"
    ran=$((ran + 1))
done
echo "== ran on $ran interpreters:$seen"
test "$ran" -gt 0
