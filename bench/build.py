"""Compiles what has to be compiled, on the spot, into ``bench/build``."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
BUILD = HERE / "build"
C_FLAGS = ("-O2", "-std=gnu11", "-Wall", "-Wextra")
# Where Debian's librust-*-dev packages put the sources of crates, for machines without a crate registry.
DEBIAN_CRATES = Path(os.environ.get("BENCH_CRATES", "/usr/share/cargo/registry"))
COMPILE_TIMEOUT_S = 600


class UnavailableError(Exception):
    """A contestant cannot run here. The text is the reason shown in the report."""


def _run(argv: list[str], **options: object) -> None:
    done = subprocess.run(  # type: ignore[call-overload]
        argv, capture_output=True, text=True, timeout=COMPILE_TIMEOUT_S, stdin=subprocess.DEVNULL, **options
    )
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines() or [f"exit status {done.returncode}"]
        errors = [line for line in lines if "error" in line.lower()]
        raise UnavailableError(f"{Path(argv[0]).name} failed: {(errors or lines)[0].strip()}")


def _tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise UnavailableError(f"{name} is not installed")
    return path


def _compile_c(program: Path, sources: list[Path], headers: list[Path]) -> Path:
    newest = max(path.stat().st_mtime for path in [*sources, *headers])
    if not program.exists() or program.stat().st_mtime <= newest:
        BUILD.mkdir(exist_ok=True)
        # Linked under a name of its own, then moved: two runs at once never execute half a file.
        fresh = program.with_name(f"{program.name}.{os.getpid()}")
        _run([_tool("cc"), *C_FLAGS, *map(str, sources), "-o", str(fresh), "-lm"])
        fresh.replace(program)
    return program


@functools.cache
def load() -> Path:
    """Build the load generator."""
    folder = HERE / "load"
    return _compile_c(BUILD / "load", sorted(folder.glob("*.c")), sorted(folder.glob("*.h")))


@functools.cache
def epoll_echo() -> Path:
    """Build the limit."""
    return _compile_c(BUILD / "epoll_echo", [HERE / "limit/epoll_echo.c"], [])


@functools.cache
def go_echo() -> Path:
    """Build the Go competitor."""
    program = BUILD / "go_echo"
    BUILD.mkdir(exist_ok=True)
    _run([_tool("go"), "build", "-o", str(program), "."], cwd=HERE / "competitors/go_echo")
    return program


@functools.cache
def tokio_echo() -> Path:
    """Build the Tokio competitor, from Debian's crates where they are installed, else from cargo's own registry."""
    cargo = _tool("cargo")
    project = BUILD / "tokio_echo"  # a copy: cargo writes its lock file beside the manifest
    shutil.copytree(HERE / "competitors/tokio_echo", project, dirs_exist_ok=True)
    source = ["--config", "net.retry=0"]  # a registry that cannot be reached is a reason to skip, not to wait
    if any(DEBIAN_CRATES.glob("tokio-[0-9]*")):
        source += ["--offline", "--config", 'source.crates-io.replace-with="debian"']
        source += ["--config", f'source.debian.directory="{DEBIAN_CRATES}"']
    _run([cargo, "build", "--release", "--quiet", *source], cwd=project)
    return project / "target/release/tokio_echo"
