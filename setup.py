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
COMPILED_LAW = SOURCE / "penstock/core/compiled_law"  # where its .pxd files stand, and what is made of both
LAW_NAMES = (
    "levels",
    "silence",
    "rare",
    "closing",
    "durations",
    "deadlines",
    "waiting",
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
    "binding": False,  # methods are descriptors then, which look whether ``self`` is one of theirs; functions do not
    "allow_none_for_extension_args": False,  # of what Python code calls: None has none of the fields
    "embedsignature": True,
    "embedsignature.format": "python",
    "annotation_typing": False,  # the law's C types stand in its .pxd files; its annotations are Python's
}


def extension(path: Path, source: Path | None = None) -> Extension:
    """Return one extension module, made of one source: of the one beside it, unless another is given."""
    return Extension(
        ".".join(path.relative_to(SOURCE).with_suffix("").parts),
        [str(source or path)],
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
    law = [extension(COMPILED_LAW / name, LAW / f"{name}.py") for name in LAW_NAMES]
    others = [extension(path) for path in sorted(SOURCE.rglob("*.pyx"))] if sys.platform == "linux" else []
    options = {"build_dir": "build/cython", "compiler_directives": DIRECTIVES, "quiet": True}
    # Cython looks for what a source depends on beside it, and there no .pxd of the law stands.
    built: list[Extension] = cythonize(law, force=note_digests() or DEBUG, **options)
    built += cythonize(others, force=DEBUG, **options)
    for module in built:
        # A failed build of one leaves a package without it, and the pure engine serves. (cythonize forgets it.)
        module.optional = True
    for left in LAW.glob("*.so"):  # an older checkout's, which would be imported instead of the source beside it
        left.unlink()
    return built


def note_digests() -> bool:
    """Write down what the law is compiled from, for core/law/fresh.py. Return whether that is new."""
    digests = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name in LAW_NAMES
        for path in (LAW / f"{name}.py", COMPILED_LAW / f"{name}.pxd")
    }
    lines = "".join(f'    "{name}": "{digest}",\n' for name, digest in digests.items())
    title = '"""Made by setup.py: the digests of the sources that the compiled law was made from."""'
    text = f"{title}\n\nDIGESTS = {{\n{lines}}}\n"
    note = LAW / "built.py"
    is_new = not note.exists() or note.read_text() != text
    note.write_text(text)
    return is_new


setup(ext_modules=extensions())
