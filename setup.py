"""What is compiled where it can be: the law, the native engine, the load. All else stands in pyproject.toml.

PENSTOCK_DEBUG=1 builds it with counts of connections, buffers and references (`penstock.engines.native.census`).
PENSTOCK_NATIVE=0 leaves it all out.
"""

import hashlib
import os
import sys
from pathlib import Path

from setuptools import Extension, setup

SOURCE = Path("src")
LAW = SOURCE / "penstock/core/law"
LAW_NAMES = (
    "levels",
    "rare",
    "closing",
    "deadlines",
    "output",
    "rate",
)  # as in core/law/fresh.py, which a test compares
DEBUG = os.environ.get("PENSTOCK_DEBUG", "") not in ("", "0")
WANTED = os.environ.get("PENSTOCK_NATIVE", "1") != "0"
DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "initializedcheck": False,
    "cdivision": True,
    "always_allow_keywords": True,
    "auto_pickle": False,
    "embedsignature": True,
    "embedsignature.format": "python",
    "annotation_typing": False,  # the law's C types stand in its .pxd files; its annotations are Python's
}


def extension(path: Path) -> Extension:
    """Return one extension module, made of one source."""
    return Extension(
        ".".join(path.relative_to(SOURCE).with_suffix("").parts),
        [str(path)],
        define_macros=[("PENSTOCK_DEBUG", "1")] if DEBUG else [],
        extra_compile_args=["-g", "-O1", "-UNDEBUG"] if DEBUG else ["-O2", "-g0"],
    )


def extensions() -> list[Extension]:
    """Return the law's, and where there is epoll one for each .pyx file; none where there is no Cython."""
    if not WANTED:
        return []
    try:
        from Cython.Build import cythonize  # noqa: PLC0415 - a build without it succeeds too
    except ImportError:
        return []
    paths = [LAW / f"{name}.py" for name in LAW_NAMES]
    if sys.platform == "linux":
        paths += sorted(SOURCE.rglob("*.pyx"))
    built: list[Extension] = cythonize(
        [extension(path) for path in paths],
        build_dir="build/cython",
        compiler_directives=DIRECTIVES,
        force=DEBUG,
        quiet=True,
    )
    for module in built:
        # A failed build of one leaves a package without it, and the pure engine serves. (cythonize forgets it.)
        module.optional = True
    note_digests()
    return built


def note_digests() -> None:
    """Write down what the law is compiled from: see core/law/fresh.py."""
    digests = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name in LAW_NAMES
        for path in (LAW / f"{name}.py", LAW / f"{name}.pxd")
    }
    lines = "".join(f'    "{name}": "{digest}",\n' for name, digest in digests.items())
    title = '"""Made by setup.py: the digests of the sources that the compiled law was made from."""'
    (LAW / "built.py").write_text(f"{title}\n\nDIGESTS = {{\n{lines}}}\n")


setup(ext_modules=extensions())
