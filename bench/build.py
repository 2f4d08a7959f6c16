"""Compiles what has to be compiled, on the spot, into ``bench/build``."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
BUILD = HERE / "build"
TLS_FLAGS = ("-DBENCH_TLS",)
TLS_LIBRARIES = ("-lssl", "-lcrypto")
C_FLAGS = ("-O2", "-std=gnu11", "-Wall", "-Wextra")
# Where Debian's librust-*-dev packages put the sources of crates, for machines without a crate registry.
DEBIAN_CRATES = Path(os.environ.get("BENCH_CRATES", "/usr/share/cargo/registry"))
COMPILE_TIMEOUT_S = 180


class UnavailableError(Exception):
    """A contestant cannot run here. The text is the reason shown in the report."""


def _run(argv: list[str], **options: object) -> None:
    try:
        done = subprocess.run(  # type: ignore[call-overload]
            argv, capture_output=True, text=True, timeout=COMPILE_TIMEOUT_S, stdin=subprocess.DEVNULL, **options
        )
    except subprocess.TimeoutExpired:
        raise UnavailableError(f"{Path(argv[0]).name} was not done after {COMPILE_TIMEOUT_S} s") from None
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines() or [f"exit status {done.returncode}"]
        errors = [line for line in lines if "error" in line.lower()]
        raise UnavailableError(f"{Path(argv[0]).name} failed: {(errors or lines)[0].strip()}")


def _tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise UnavailableError(f"{name} is not installed")
    return path


def _once(build: Callable[[], Path]) -> Callable[[], Path]:
    """Build at the first call; a later one returns, or raises, the same."""

    @functools.cache
    def outcome() -> Path | UnavailableError:
        try:
            return build()
        except UnavailableError as error:
            return error

    @functools.wraps(build)
    def built() -> Path:
        found = outcome()
        if isinstance(found, UnavailableError):
            raise found
        return found

    return built


def _compile_c(
    program: Path, sources: list[Path], headers: list[Path], *flags: str, libraries: tuple[str, ...] = ()
) -> Path:
    newest = max(path.stat().st_mtime for path in [*sources, *headers])
    if not program.exists() or program.stat().st_mtime <= newest:
        BUILD.mkdir(exist_ok=True)
        # Linked under a name of its own, then moved: two runs at once never execute half a file.
        fresh = program.with_name(f"{program.name}.{os.getpid()}")
        _run([_tool("cc"), *C_FLAGS, *flags, *map(str, sources), "-o", str(fresh), "-lm", *libraries])
        fresh.replace(program)
    return program


@_once
def send_each() -> Path:
    """Build the limit of a group."""
    return _compile_c(BUILD / "send_each", [HERE / "limit/send_each.c"], [])


@_once
def udp_echo() -> Path:
    """Build the limit of datagrams."""
    return _compile_c(BUILD / "udp_echo", [HERE / "limit/udp_echo.c"], [])


@_once
def udp_load() -> Path:
    """Build the load of datagrams."""
    return _compile_c(BUILD / "udp_load", [HERE / "limit/udp_load.c"], [])


@_once
def load() -> Path:
    """Build the load generator."""
    folder = HERE / "load"
    return _compile_c(BUILD / "load", sorted(folder.glob("*.c")), sorted(folder.glob("*.h")))


@_once
def epoll_echo() -> Path:
    """Build the limit."""
    return _compile_c(BUILD / "epoll_echo", [HERE / "limit/epoll_echo.c"], [])


@_once
def load_tls() -> Path:
    """Build the load generator with TLS."""
    folder = HERE / "load"
    sources, headers = sorted(folder.glob("*.c")), sorted(folder.glob("*.h"))
    return _compile_c(BUILD / "load_tls", sources, headers, *TLS_FLAGS, libraries=TLS_LIBRARIES)


@_once
def epoll_echo_tls() -> Path:
    """Build the limit with TLS."""
    return _compile_c(BUILD / "epoll_echo_tls", [HERE / "limit/epoll_echo.c"], [], *TLS_FLAGS, libraries=TLS_LIBRARIES)


@_once
def certificate() -> Path:
    """Make what servers show: a key on P-256 and a certificate that it has signed itself, in one file."""
    path = BUILD / "certificate.pem"
    if not path.exists():
        BUILD.mkdir(exist_ok=True)
        fresh, key = (BUILD / f"{name}.{os.getpid()}" for name in ("certificate", "key"))
        _run([
            _tool("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-days", "3650", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
            "-keyout", str(key), "-out", str(fresh),
        ])  # fmt: skip
        fresh.write_bytes(key.read_bytes() + fresh.read_bytes())
        fresh.chmod(0o600)
        key.unlink()
        fresh.replace(path)
    return path


@_once
def counted() -> Path:
    """Build what a server under callgrind is told to count by."""
    return _compile_c(BUILD / "counted.so", [HERE / "counted.c"], [], "-shared", "-fPIC")


@_once
def go_echo() -> Path:
    """Build the Go competitor."""
    program = BUILD / "go_echo"
    BUILD.mkdir(exist_ok=True)
    _run([_tool("go"), "build", "-o", str(program), "."], cwd=HERE / "competitors/go_echo")
    return program


@_once
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


def versions() -> str:
    """Return the versions of the compilers and of what is not Python, as far as they are installed."""
    found = []
    for argv in (
        ["cc", "--version"],
        ["go", "version"],
        ["rustc", "--version"],
        ["redis-server", "--version"],
        ["openssl", "version"],
    ):
        path = shutil.which(argv[0])
        if path is not None:
            done = subprocess.run([path, *argv[1:]], capture_output=True, text=True, timeout=60)
            number = re.search(r"\d+\.\d+(\.\d+)?", done.stdout)
            found += [f"{argv[0]} {number[0]}"] if number else []
    lock = BUILD / "tokio_echo/Cargo.lock"
    locked = re.search(r'name = "tokio"\nversion = "(.*?)"', lock.read_text()) if lock.exists() else None
    return ", ".join(found + ([f"tokio {locked[1]}"] if locked else []))
