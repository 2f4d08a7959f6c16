"""Move the pins: write ``pins.txt``, the newest versions that agree with each other of all that is installed here.

That is what the tests, the checks and the wheel need, what a build needs, and pip. They are looked for on the oldest
CPython that is supported: what has ended its support for that one is left out. With ``--lowest`` or ``--newest``,
nothing is written: the requirements of the core and its extras, at one end of what is allowed, are printed.
"""

import itertools
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PINS = ROOT / "pins.txt"
GROUPS = ("test", "lint", "docs", "wheel")
HEADER = "# What tests, checks, builds and wheels are made with. Written by `make pins`.\n"


def core(project: Mapping[str, Any]) -> Iterator[str]:
    """Yield the requirements of the package and of its extras, without markers."""
    for requirement in itertools.chain(project["dependencies"], *project["optional-dependencies"].values()):
        if not requirement.startswith("penstock["):
            yield requirement.partition(";")[0].strip()


def resolve(requirements: list[str]) -> dict[str, str]:
    """Return the version of each package that has to be there, by name."""
    groups = [word for group in GROUPS for word in ("--group", group)]
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", "--report", "-"]
    command += [*groups, *requirements]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)  # noqa: S603  # our own words
    found = [package["metadata"] for package in json.loads(done.stdout)["install"]]
    return {package["name"].lower().replace("_", "-"): package["version"] for package in found}


def main(arguments: list[str]) -> int:
    """Do what is said above."""
    document = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = document["project"]
    if "--lowest" in arguments:
        print(*(requirement.replace(">=", "==") for requirement in core(project)))
        return 0
    if "--newest" in arguments:
        print(*(requirement.partition(">=")[0] for requirement in core(project)))
        return 0
    oldest = tuple(map(int, re.findall(r"\d+", project["requires-python"])))
    if sys.version_info[:2] != oldest:
        print(f"pins are looked for on CPython {'.'.join(map(str, oldest))}: make pins PYTHON=…", file=sys.stderr)
        return 2
    pins = resolve([*core(project), *document["build-system"]["requires"], "pip"])
    PINS.write_text(HEADER + "".join(f"{name}=={version}\n" for name, version in sorted(pins.items())))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
