"""The compiled engine and load, where they can be built: everything else about the package is in pyproject.toml.

PENSTOCK_DEBUG=1 builds it with counts of connections, buffers and references (`penstock.engines.native.census`).
PENSTOCK_NATIVE=0 leaves it out.
"""

import os
import sys
from pathlib import Path

from setuptools import Extension, setup

SOURCE = Path("src")
DEBUG = os.environ.get("PENSTOCK_DEBUG", "") not in ("", "0")
WANTED = os.environ.get("PENSTOCK_NATIVE", "1") != "0"


def extensions() -> list[Extension]:
    """Return one optional extension for each .pyx file; none where there is no epoll or no Cython."""
    if sys.platform != "linux" or not WANTED:
        return []
    try:
        from Cython.Build import cythonize  # noqa: PLC0415 - a build without it succeeds too
    except ImportError:
        return []
    modules = [
        Extension(
            ".".join(path.relative_to(SOURCE).with_suffix("").parts),
            [str(path)],
            define_macros=[("PENSTOCK_DEBUG", "1")] if DEBUG else [],
            extra_compile_args=["-g", "-O1", "-UNDEBUG"] if DEBUG else ["-O2", "-g0"],
        )
        for path in sorted(SOURCE.rglob("*.pyx"))
    ]
    directives = {
        "language_level": 3,
        "boundscheck": False,
        "wraparound": False,
        "initializedcheck": False,
        "cdivision": True,
        "always_allow_keywords": True,
        "auto_pickle": False,
        "embedsignature": True,
        "embedsignature.format": "python",
    }
    built: list[Extension] = cythonize(
        modules, build_dir="build/cython", compiler_directives=directives, force=DEBUG, quiet=True
    )
    for module in built:
        # A failed build of one leaves a package without it, and the pure engine serves. (cythonize forgets it.)
        module.optional = True
    return built


setup(ext_modules=extensions())
