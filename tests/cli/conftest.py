"""The command line as a user has it: a process of its own, in a directory of its own, in a clean environment."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass

import pytest

APP = '''\
import penstock

@penstock.on_message(codec="lines")
def shout(message):
    """Answer in capitals."""
    return message.upper()

@penstock.on_message(codec="raw")
def echo(message):
    return message

@penstock.on_message(codec="json-lines")
def objects(message):
    return {"got": message}

@penstock.on_connection(codec="lines")
async def twice(conn):
    async for message in conn:
        await conn.send(message)
        await conn.send(message)

@penstock.on_connection(codec="lines")
async def farewell(conn):
    """Take one message, answer, leave."""
    await conn.send(b"bye " + await conn.receive())

@penstock.on_message(codec="lines")
def silent(message):
    return None

@penstock.on_message(codec="lines")
def fail(message):
    raise ValueError("the handler is broken")

@penstock.on_message(codec="lines")
def abort(conn, message):
    conn.abort()
'''


@pytest.fixture
def environ():
    """An environment without anything of the machine's that could matter here."""
    kept = ("PATH", "SYSTEMROOT", "PYTHONPATH", "HOME")
    return {name: os.environ[name] for name in kept if name in os.environ} | {"TERM": "xterm", "LANG": "C.UTF-8"}


@pytest.fixture
def directory(tmp_path):
    """A directory with a module of services, ``app.py``."""
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


@pytest.fixture
def penstock(environ, directory):
    """A function that runs ``penstock`` with arguments and returns the finished process, its output as text."""

    def run(*arguments, data="", env=None, cwd=None, **options):
        if not {"stdin", "input"} & set(options):
            options["input"] = data
        return subprocess.run(
            [sys.executable, "-m", "penstock", *arguments],
            cwd=cwd or directory,
            env=environ | (env or {}),
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "timeout": 30, **options},
        )

    return run


@dataclass
class Served:
    """A server in a process of its own.

    Attributes:
        process: The process.
        addresses: Where it listens.
        stderr: The file its standard error goes to.
    """

    process: subprocess.Popen
    addresses: list
    stderr: object

    @property
    def address(self):
        """Its first address."""
        return self.addresses[0]

    def log(self):
        """What it has written to standard error so far."""
        return self.stderr.read_text()

    def stop(self, number=signal.SIGTERM):
        """Send it a signal and return its exit status."""
        self.process.send_signal(number)
        return self.process.wait(20)


@pytest.fixture
def serve(environ, directory):
    """A function that starts ``penstock serve`` on a port of its own, and returns once it serves."""
    with contextlib.ExitStack() as stack:

        def start(*arguments, bind="tcp://127.0.0.1:0", env=None, **options):
            stderr = directory / f"stderr-{len(list(directory.glob('stderr-*')))}"
            file = stack.enter_context(stderr.open("wb"))
            binds = [] if bind is None else ["--bind", bind]
            process = subprocess.Popen(
                [sys.executable, "-m", "penstock", "serve", *arguments, *binds, "--print-ready"],
                cwd=directory,
                env=environ | (env or {}),
                **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": file, **options},
            )
            stack.callback(end, process)
            line = process.stdout.readline()
            assert line, f"it ended with {process.wait(10)}: {stderr.read_text()}"
            return Served(process, json.loads(line)["addresses"], stderr)

        yield start


def end(process):
    """End a process that has not ended, and close its pipe."""
    if process.poll() is None:
        process.kill()
        process.wait(10)
    if process.stdout is not None:
        process.stdout.close()
