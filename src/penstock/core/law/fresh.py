"""A compiled law is used only while it is what its source says: an older one must not decide anything silently.

`setup.py` notes the digest of each source that it compiles, in `built`. Where one has changed since, the native engine,
which was compiled with it, cannot be loaded, and says why.
"""

from __future__ import annotations

import hashlib
import importlib
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Final

SOURCES: Final = Path(__file__).parent
COMPILED: Final = SOURCES.with_name("compiled_law")

# In the order in which they import each other.
NAMES: Final = ("levels", "silence", "rare", "closing", "durations", "deadlines", "waiting", "output", "rate")


def digest(source: Path) -> str:
    """Return what stands for the text of a source."""
    return hashlib.sha256(source.read_bytes()).hexdigest()


def compiled() -> list[str]:
    """Return the names of the laws that this interpreter would load compiled."""
    return [name for name in NAMES if any((COMPILED / f"{name}{suffix}").exists() for suffix in EXTENSION_SUFFIXES)]


def noted() -> dict[str, str]:
    """Return the digests of what was compiled, by the names of the files; none where nothing was."""
    try:
        digests: dict[str, str] = importlib.import_module(".built", __package__).DIGESTS
    except ImportError:
        return {}
    return digests


def stale() -> list[str]:
    """Return the names of the compiled laws whose source, or declaration, is another than what was compiled."""
    built = noted()
    return [
        name
        for name in compiled()
        if any(
            file.exists() and built.get(file.name) != digest(file)
            for file in (SOURCES / f"{name}.py", COMPILED / f"{name}.pxd")
        )
    ]


def refusal() -> str | None:
    """Return why the compiled law is not to be used: it is older than its source, or a part is missing."""
    there = compiled()
    if not there:
        return None  # nothing was compiled: the import of a law says so
    old = stale()
    if not old and len(there) == len(NAMES):
        return None
    what = f"older than its source: {', '.join(old)}" if old else "not complete"
    return f"the compiled law is {what}; build it again: pip install -e ."
