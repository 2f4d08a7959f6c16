"""The command line as a user has it: a process of its own, in a directory of its own, in a clean environment.

Where a test is not about how the program begins, the process is forked off one that has imported it (`starter`).
"""

import contextlib
import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import termios
from dataclasses import dataclass

import pytest

from ..starter import PATIENCE_S, PROGRAM, clean_environment, finish

ROWS, COLUMNS = 24, 80

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
    return clean_environment()


@pytest.fixture
def directory(tmp_path):
    """A directory with a module of services, ``app.py``."""
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


@pytest.fixture
def background():
    """What starts a program as a script's background job is started: with SIGINT ignored."""
    return ("sh", "-c", 'trap "" INT; exec "$@"', "sh")


@pytest.fixture
def penstock(popen, environ, directory):
    """A function that runs ``penstock`` with arguments and returns the finished process, its output as text."""

    def run(*arguments, data="", env=None, cwd=None, stdin=subprocess.PIPE, timeout=PATIENCE_S, **options):
        command = [*PROGRAM, *arguments]
        sent = options.pop("input", data) if stdin == subprocess.PIPE else None
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
        process = popen(command, cwd=cwd or directory, env=environ | (env or {}), stdin=stdin, **options)
        return finish(process, sent, timeout)

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
        return self.process.wait(PATIENCE_S)


@pytest.fixture
def serve(popen, environ, directory):
    """A function that starts ``penstock serve`` on a port of its own, and returns once it serves."""
    with contextlib.ExitStack() as stack:

        def start(*arguments, bind="tcp://127.0.0.1:0", env=None, under=(), **options):
            stderr = directory / f"stderr-{len(list(directory.glob('stderr-*')))}"
            file = stack.enter_context(stderr.open("wb"))
            binds = [] if bind is None else ["--bind", bind]
            process = popen(
                [*PROGRAM, "serve", *arguments, *binds, "--print-ready"],
                under=under,
                cwd=directory,
                env=environ | (env or {}),
                **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": file, **options},
            )
            stack.callback(end, process)
            line = process.stdout.readline()
            assert line, f"it ended with {process.wait(PATIENCE_S)}: {stderr.read_text()}"
            return Served(process, json.loads(line)["addresses"], stderr)

        yield start


def end(process):
    """End a process that has not ended, and close its pipe."""
    if process.poll() is None:
        process.kill()
        process.wait(PATIENCE_S)
    if process.stdout is not None:
        process.stdout.close()


class Screen:
    """A program on a terminal of its own, and what that terminal shows."""

    def __init__(self, popen, command, env, cwd, columns):
        self.fd, inner = pty.openpty()
        fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
        self.raw = b""
        pyte = pytest.importorskip("pyte")
        self.screen = pyte.Screen(columns, ROWS)
        self.screen.write_process_input = lambda text: os.write(self.fd, text.encode())  # answers to its questions
        self.stream = pyte.ByteStream(self.screen)
        self.process = popen(
            command,
            stdin=inner,
            stdout=inner,
            stderr=inner,
            start_new_session=True,
            controls=True,  # shells control their jobs
            env=env,
            cwd=cwd,
        )
        os.close(inner)

    @property
    def lines(self):
        """What is on the screen: the lines that are not empty."""
        return [line.rstrip() for line in self.screen.display if line.strip()]

    def type(self, text):
        """Press keys."""
        os.write(self.fd, text.encode())

    def wait_for(self, *expected):
        """Read until the last lines on the screen are ``expected``."""
        while self.lines[-len(expected) :] != list(expected):
            assert self.read(), f"{expected} did not come: {self.lines}"

    def wait_until(self, fact):
        """Read until ``fact`` is true of what is on the screen."""
        while not fact():
            assert self.read(), f"it did not come: {self.lines}"

    def read(self):
        """Take what the program wrote; return whether there was something."""
        if not select.select([self.fd], [], [], 20)[0]:
            return False
        try:
            data = os.read(self.fd, 65536)
        except OSError:  # EIO: the program's end is closed
            return False
        self.raw += data
        self.stream.feed(data)
        return True

    def end(self):
        """Read to the end; return the exit status."""
        while self.read():
            pass
        return self.process.wait(PATIENCE_S)


@pytest.fixture
def terminal(popen, environ, directory):
    """A function that starts a program on a terminal of its own."""
    with contextlib.ExitStack() as stack:

        def start(*command, env=None, columns=COLUMNS):
            shown = Screen(popen, command, environ | (env or {}), directory, columns)
            stack.callback(os.close, shown.fd)
            stack.callback(end, shown.process)
            return shown

        yield start
