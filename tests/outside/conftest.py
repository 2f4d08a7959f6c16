"""Programs as a beginner writes them, each a process of its own: beside the services, and beside the commands."""

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PATIENCE_S = 30
ENVIRON = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}


class Program:
    """One process: what it says line by line, and how it ended."""

    def __init__(self, *command):
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRON
        )

    def type(self, line):
        """Type one line."""
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def line(self):
        """The next line of its output, waited for."""
        return self.process.stdout.readline().rstrip("\n")

    def lines(self):
        """The rest of its output; it has to end, and well."""
        output, errors = self.process.communicate(timeout=PATIENCE_S)
        assert 0 == self.process.returncode, errors
        return output.splitlines()

    def end(self):
        """End it, if it has not ended; let go of its pipes."""
        if self.process.poll() is None:
            self.process.terminate()
        self.process.communicate(timeout=PATIENCE_S)


@pytest.fixture
def start():
    """Start programs; those that are left at the end of the test are ended."""
    with contextlib.ExitStack() as stack:

        def run(*command):
            program = Program(*command)
            stack.callback(program.end)
            return program

        yield run


@pytest.fixture
def client(start):
    """Start one of the clients, as its author would: ``client("greeter", service, "1")``."""

    def run(name, service, *words):
        return start(sys.executable, str(HERE / "clients" / f"{name}.py"), "127.0.0.1", str(service.port), *words)

    return run


@pytest.fixture
def server(start):
    """Start one of the servers; ``port`` is where it listens."""

    def run(name):
        program = start(sys.executable, str(HERE / "servers" / f"{name}.py"))
        program.port = int(program.line())
        return program

    return run


@pytest.fixture
def penstock(start):
    """Run a command: ``penstock("send", url, "hello")``."""
    return lambda *words: start(sys.executable, "-m", "penstock", *words)


@pytest.fixture
def service(penstock):
    """Serve one of the classic services with its default options; ``port`` is where."""

    def run(name, *options, scheme="tcp"):
        program = penstock("serve", name, "--bind", f"{scheme}://127.0.0.1:0", *options)
        said = ""
        while not (found := re.search(rf"{scheme}://127\.0\.0\.1:(\d+)", said)):
            line = program.process.stderr.readline()
            assert line, said
            said += line
        program.port = int(found[1])
        return program

    return run
