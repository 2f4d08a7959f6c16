"""Fuzz one target with atheris: ``python fuzz/run.py TARGET [libFuzzer options]``.

What is found goes where the options say. A directory that is named is read, and written to: name a copy of
``fuzz/corpus/TARGET``.
"""

import sys

import atheris

with atheris.instrument_imports(include=["penstock"]):
    from targets import TARGETS


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"usage: run.py TARGET [libFuzzer options]; targets: {', '.join(TARGETS)}")
    target = TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
