"""A compiled law is used only while it is what its source says: an older one must not decide anything silently.

`setup.py` notes the digest of each source that it compiles, in `built`. Where one has changed since, all laws run from
their sources, which costs speed and the native engine, and a warning says so.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
import warnings
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import ModuleType
from typing import Final

FOLDER: Final = Path(__file__).parent

# In the order in which they import each other.
NAMES: Final = ("levels", "rare", "closing", "deadlines", "output", "rate")


def digest(source: Path) -> str:
    """Return what stands for the text of a source."""
    return hashlib.sha256(source.read_bytes()).hexdigest()


def compiled(folder: Path = FOLDER) -> list[str]:
    """Return the names of the laws that this interpreter would load compiled."""
    return [name for name in NAMES if any((folder / f"{name}{suffix}").exists() for suffix in EXTENSION_SUFFIXES)]


def noted() -> dict[str, str]:
    """Return the digests of what was compiled, by the names of the files; none where nothing was."""
    try:
        digests: dict[str, str] = importlib.import_module(".built", __package__).DIGESTS
    except ImportError:
        return {}
    return digests


def stale(folder: Path = FOLDER, built: dict[str, str] | None = None) -> list[str]:
    """Return the names of the compiled laws whose source, or declaration, is another than what was compiled."""
    if built is None:
        built = noted()
    sources = {name: (folder / f"{name}.py", folder / f"{name}.pxd") for name in compiled(folder)}
    return [
        name
        for name, files in sources.items()
        if any(file.exists() and built.get(file.name) != digest(file) for file in files)
    ]


def refuse_stale() -> bool:
    """Have all laws run from their sources if a compiled one is older than its source, or if not all are compiled.

    Returns:
        Whether it came to that.
    """
    there = compiled()
    if not there:
        return False
    old = stale()
    if not old and len(there) == len(NAMES):
        return False
    what = f"older than its source: {', '.join(old)}" if old else "not complete"
    warnings.warn(
        f"the compiled law is {what}; the sources serve, the native engine cannot. Build it again: pip install -e .",
        RuntimeWarning,
        stacklevel=2,
    )
    package = sys.modules[__name__.rpartition(".")[0]]
    for name in NAMES:
        setattr(package, name, load(f"{package.__name__}.{name}", FOLDER / f"{name}.py"))
    return True


def load(name: str, source: Path) -> ModuleType:
    """Run a source as the module of that name, whether or not something compiled stands beside it."""
    spec = importlib.util.spec_from_file_location(name, source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
