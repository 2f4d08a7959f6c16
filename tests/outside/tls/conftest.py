"""Other implementations of TLS, each a process of its own: OpenSSL's program, and one in Go and in Rust, built here."""

import contextlib
import fcntl
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from penstock.testing.engines import TLS_ENGINES
from penstock.testing.fixtures import leave_to_ssl
from penstock.testing.peers import PATIENCE_S

HERE = Path(__file__).parent
# What was built stays, as what setup.py builds does.
BUILT = HERE.parents[2] / "build" / "outside"
CRATES = Path("/usr/share/cargo/registry")  # of Debian's librust-*-dev
# Go since 1.20 compiles its own library too, the first time.
BUILD_S = 240
# So long what has failed is not tried again: each test of each process would.
FAILED_S = 600

ENGINES = [engine for engine in TLS_ENGINES if engine.label in ("pure", "blocking", "native", "native-ssl")]
FULL = ("native-ssl", "rustls")  # what is like another, or takes long to build, runs in make test-tls
BUILT_HERE = ("go", "rustls")


def tried(name, value):
    marks = [pytest.mark.full] if name in FULL else []
    if name in BUILT_HERE:  # a test may be the one that builds, or wait for the process that does
        marks.append(pytest.mark.timeout(BUILD_S + 60))
    return pytest.param(value, id=name, marks=marks)


@pytest.fixture(params=[tried(engine.label, engine) for engine in ENGINES])
def engine(request, monkeypatch):
    """Each engine that has TLS of its own, native with both links."""
    if request.param.missing:
        pytest.skip(request.param.missing)
    leave_to_ssl(monkeypatch, request.param)
    return request.param


class OpenSsl:
    """``openssl``: its server sends a line back the wrong way round."""

    answer = b"olleh"
    revokes = True

    def client(self, version, port, name, ca, cert=None):
        """Say hello to a server, whose certificate has to be for a name."""
        shown = [] if cert is None else ["-cert", cert, "-key", cert]
        return [
            *("openssl", "s_client", "-quiet", f"-tls{version.replace('.', '_')}", "-connect", f"127.0.0.1:{port}"),
            *("-servername", name, "-verify_hostname", name, "-verify_return_error", "-CAfile", ca, *shown),
        ]

    def server(self, version, ca, cert, revoked):
        """Serve clients that show a certificate."""
        return [
            *("openssl", "s_server", "-rev", f"-tls{version.replace('.', '_')}", "-accept", "127.0.0.1:0"),
            *("-Verify", "1", "-verify_return_error", "-CAfile", ca, "-cert", cert, "-CRL", revoked, "-crl_check"),
        ]


class Built:
    """A program that was built from what is beside this file.

    Args:
        program: The program.
        revokes: Whether its server refuses what was revoked.
    """

    answer = b"hello"

    def __init__(self, program, *, revokes):
        self._program = str(program)
        self.revokes = revokes

    def client(self, version, port, name, ca, cert=None):
        """As `OpenSsl`."""
        return [self._program, "client", version, f"127.0.0.1:{port}", name, ca, *([] if cert is None else [cert])]

    def server(self, version, ca, cert, revoked):
        """As `OpenSsl`."""
        return [self._program, "server", version, "127.0.0.1:0", ca, cert, revoked]


def need(*programs):
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")


def is_newer(target, sources):
    return target.exists() and all(source.stat().st_mtime <= target.stat().st_mtime for source in sources)


def go():
    need("go")
    target, source = BUILT / "go" / "peer", HERE / "peer.go"
    target.parent.mkdir(parents=True, exist_ok=True)
    if not is_newer(target, [source]):
        build(["go", "build", "-o", str(target), str(source)], target.parent, [source])
    return Built(target, revokes=True)


def rust():
    need("cargo", "cc")
    if not list(CRATES.glob("rustls-0.20*")):
        pytest.skip("Debian's librust-rustls-dev and librust-rustls-pemfile-dev are not installed")
    directory = BUILT / "rustls"
    target = directory / "target" / "debug" / "peer"
    sources = [HERE / "rustls" / "Cargo.toml", HERE / "rustls" / "src" / "main.rs"]
    if not is_newer(target, sources):
        shutil.copytree(HERE / "rustls", directory, dirs_exist_ok=True, copy_function=shutil.copyfile)
        of_debian = ['source.crates-io.replace-with="debian"', f'source.debian.directory="{CRATES}"']
        config = [word for line in of_debian for word in ("--config", line)]
        command = ["cargo", "build", "--quiet", "--offline", "--target-dir", str(directory / "target"), *config]
        build(command, directory, sources)
    return Built(target, revokes=False)


def build(command, directory, sources):
    """Build a program. What this machine cannot do skips, now and for the next tests; a fault of a source fails."""
    failed = directory / "failed"
    if is_newer(failed, sources) and time.time() - failed.stat().st_mtime < FAILED_S:
        why = failed.read_text()
    else:
        try:
            done = subprocess.run(command, cwd=directory, capture_output=True, timeout=BUILD_S)
        except subprocess.TimeoutExpired:
            why = f"it took more than {BUILD_S} s"
        else:
            if done.returncode == 0:
                return
            why = done.stderr.decode()
        failed.write_text(why)
    # Both compilers name the place: peer.go:12:3, src/main.rs:12:3.
    if any(f"{source.name}:" in why for source in sources):
        pytest.fail(f"{command[0]} refuses it: {why}", pytrace=False)
    pytest.skip(f"{command[0]} cannot build it here: {why[-300:]}")


PEERS = {"openssl": OpenSsl, "go": go, "rustls": rust}


@pytest.fixture(scope="session")
def peers():
    """Give an implementation by its name; it is built where it has to be, once, whichever process is first."""
    made = {}

    def give(name):
        if name == "openssl":
            need(name)
        if name not in made:
            BUILT.mkdir(parents=True, exist_ok=True)
            with open(BUILT / f"{name}.lock", "w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                made[name] = PEERS[name]()
        return made[name]

    return give


@pytest.fixture(params=[tried(name, name) for name in PEERS])
def peer(request, peers):
    """Each of the implementations."""
    return peers(request.param)


@contextlib.contextmanager
def listening(command):
    """Run a server until the end of the block, from when it says where it listens; give its port."""
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    try:
        line = b""
        while b"127.0.0.1:" not in line:
            line = server.stdout.readline()
            assert line, f"{command[0]} ended"
        yield int(line.rpartition(b":")[2])
    finally:
        server.terminate()
        server.wait(PATIENCE_S)
        server.stdout.close()


@pytest.fixture
def started():
    """Start one of their servers for the rest of the test: ``started(command)`` is its port."""
    with contextlib.ExitStack() as stack:
        yield lambda command: stack.enter_context(listening(command))
