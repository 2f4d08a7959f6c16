# For scripts to source. `each_cpython` prints a line "MINOR VERSION PATH" for each CPython 3.11 and newer of this machine, the
# first of each minor version: those on the PATH, $PYTHON among them, then pyenv's, whose names there may lead nowhere.

candidates() {
    for name in python3.11 python3.12 python3.13 python3.14 "${PYTHON:-python3}"; do
        command -v "$name" || true
    done
    ls -1 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[1-9].*/bin/python 2>/dev/null || true
}

version_of() {
    "$1" -c 'import platform, sys
print(platform.python_version() if sys.version_info >= (3, 11) and sys.implementation.name == "cpython" else "")' 2>/dev/null || true
}

each_cpython() {
    local python version seen=" "
    for python in $(candidates); do
        version=$(version_of "$python")
        if [ -n "$version" ] && [[ "$seen" != *" ${version%.*} "* ]]; then
            seen="$seen${version%.*} "
            echo "${version%.*} $version $python"
        fi
    done
}
