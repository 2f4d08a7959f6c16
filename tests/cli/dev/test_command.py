"""`penstock dev` and `--reload`: the code anew whenever a file changes."""

import contextlib
import json
import socket
import subprocess
import sys

import pytest

APP = """\
import penstock

@penstock.on_message(codec="lines")
def answer(message: bytes) -> bytes:
    return b"{}"
"""


class Development:
    """A server that is told of changes, whose standard error is read here."""

    def __init__(self, process):
        self.process = process

    def said(self, *texts):
        """Return the line of its log by which it has said all of these, in any order; all before is passed over."""
        left = set(texts)
        for line in self.process.stderr:
            left -= {text for text in left if text in line}
            if not left:
                return line.rstrip()
        raise AssertionError(f"it ended and never said {left}")

    def address(self):
        """Wait until it serves; return where."""
        facts = json.loads(self.process.stdout.readline())
        return facts["addresses"][0].removeprefix("tcp://").split(":")


def ask(address):
    """Ask over a connection of its own."""
    with socket.create_connection((address[0], int(address[1])), timeout=20) as peer:
        peer.sendall(b"hello\n")
        return peer.recv(100)


@pytest.fixture
def develop(environ, directory):
    """A function that starts ``penstock`` for development."""
    with contextlib.ExitStack() as stack:

        def start(*arguments):
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "penstock", *arguments, "--print-ready", "--bind", "tcp://127.0.0.1:0"],
                    cwd=directory,
                    env=environ,
                    text=True,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                )
            )
            stack.callback(process.kill)
            return Development(process)

        yield start


def test_the_code_is_served_anew_when_it_changes_and_as_before_when_it_is_broken(develop, directory):
    """On the same socket; each connection and message has its line."""
    app = directory / "mine.py"
    app.write_text(APP.format("one"))
    server = develop("dev", "mine.py")
    address = server.address()
    assert b"one\n" == ask(address)
    assert " + 127.0.0.1:" in server.said("connected")
    assert server.said(" < ").endswith(" hello")
    assert server.said(" > ").endswith(" one")
    app.write_text(APP.format("two"))
    server.said("mine.py changed")
    server.said("reloaded: ", "draining")  # the one before accepts no more
    assert b"two\n" == ask(address)
    app.write_text("def (")
    server.said("mine.py:1:5: invalid syntax")
    server.said("the new code is not served")
    assert b"two\n" == ask(address)
    app.write_text(APP.format("three"))
    server.said("reloaded: ", "draining")
    assert b"three\n" == ask(address)
    server.process.terminate()
    server.process.stderr.read()

    assert 0 == server.process.wait(20)


def test_code_that_is_broken_at_the_start_is_waited_for(develop, directory):
    """It is said what is wrong; the next change is tried."""
    (directory / "mine.py").write_text("import nothing_of_that_name")
    server = develop("serve", "mine.py", "--reload")
    server.said("nothing_of_that_name")
    server.said("waiting for a change")
    (directory / "mine.py").write_text(APP.format("one"))
    assert b"one\n" == ask(server.address())
    server.process.terminate()
    server.process.stderr.read()

    assert 0 == server.process.wait(20)


def test_nothing_is_closed_for_silence_unless_it_is_asked_for(penstock):
    """The values that stand in for the defaults, and one that was given."""
    shown = penstock("dev", "app:shout", "--print-config", "--timeout-idle", "5s").stdout

    assert 'timeout_first_message = "3650d"' in shown
    assert 'timeout_idle = "5s"' in shown
    assert 'timeout_drain = "1s"' in shown


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["serve", "app:shout", "--reload", "--workers", "4"], "--reload and --workers contradict each other"),
        (["dev", "app:shout", "--workers", "4"], "--reload and --workers contradict each other"),
    ],
)
def test_what_does_not_go_together_is_refused(penstock, arguments, problem):
    """Naming both."""
    done = penstock(*arguments)

    assert (2, True) == (done.returncode, problem in done.stderr)


def test_development_is_for_this_machine_alone(penstock):
    """Another address is refused at once."""
    done = penstock("dev", "app:shout", "--bind", "tcp://0.0.0.0:0")

    assert 2 == done.returncode
    assert "penstock dev serves this machine only" in done.stderr
