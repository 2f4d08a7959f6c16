"""The examples as their pages run them: each a process of `penstock serve`, on the native engine and the pure one."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from penstock.engines.registry import ENGINES

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
PATIENCE_S = 30
PROGRAMS = f"{os.environ['PATH']}:/usr/sbin:/sbin"
ENVIRON = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
sys.path.append(str(EXAMPLES))  # so that tests of what is pure can import it


class Example:
    """One example that serves: where, and what it has printed."""

    def __init__(self, directory, target, engine, *options, **environ):
        self.directory = directory
        self.printed = directory / "printed"
        with self.printed.open("w") as printed:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "penstock", "serve", str(EXAMPLES / target), "--engine", engine, *options],
                cwd=directory,
                env=ENVIRON | environ,
                stdout=printed,
                stderr=subprocess.PIPE,
                text=True,
            )
        self.said = []
        for line in self.process.stderr:
            self.said.append(line)
            if "Press CTRL+C" in line:
                break
        else:  # it has ended, and leaves nothing to the tests that come after
            self.process.stderr.close()
            self.process.wait(PATIENCE_S)
            pytest.fail("".join(self.said))
        self.ports = [int(port) for port in re.findall(r"\w+://127\.0\.0\.1:(\d+)", "".join(self.said[:-2]))]
        self.port = self.ports[0] if self.ports else 0
        self.reader = threading.Thread(target=lambda: self.said.extend(self.process.stderr))
        self.reader.start()

    def stop(self):
        """End it as a service manager does; it has to end well."""
        self.process.send_signal(signal.SIGTERM)
        assert 0 == self.process.wait(PATIENCE_S), "".join(self.said)
        self.reader.join(PATIENCE_S)
        self.process.stderr.close()

    def dial(self):
        """Connect a plain socket."""
        return socket.create_connection(("127.0.0.1", self.port), PATIENCE_S)

    def replies(self, wire, cuts=()):
        """Send ``wire`` cut into pieces, end our direction, and return all that is answered."""
        with self.dial() as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
            at = 0
            for size in cuts:
                sock.sendall(wire[at : at + size])
                at += size
            sock.sendall(wire[at:])
            sock.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: sock.recv(65536), b""))


@pytest.fixture(scope="module", params=["native", "pure"])
def engine(request):
    """Each engine that is here."""
    if request.param not in ENGINES:
        pytest.skip(f"there is no {request.param} engine")
    return request.param


@pytest.fixture(scope="module")
def start(tmp_path_factory, engine):
    """Serve examples until the module's tests have run; each in a directory of its own."""
    with contextlib.ExitStack() as stack:

        def run(target, *options, **environ):
            example = Example(tmp_path_factory.mktemp("example"), target, engine, *options, **environ)
            stack.callback(example.stop)
            return example

        yield run


@pytest.fixture
def program():
    """Run a program that is not ours; return what it printed. A test whose program is missing says so."""

    def run(*command, status=0, **options):
        if shutil.which(command[0], path=PROGRAMS) is None:
            pytest.skip(f"{command[0]} is not installed; make apt")
        ENVIRON | {"PATH": PROGRAMS}
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE_S, env=ENVIRON | {"PATH": PROGRAMS}, **options
        )
        assert status == done.returncode, done.stdout + done.stderr
        return done.stdout

    return run
