"""What `--expect` looks for is found in bounded time, whatever the pattern and whatever a peer sends."""

import asyncio
import contextlib
import re
import signal
import socket
import subprocess
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.cli.expect import Expectation
from penstock.errors import ConfigurationError, PenstockError

# Tries for longer than anybody waits.
ENDLESS, REPLY = "^(a+)+$", b"a" * 60 + b"!"


@pytest.fixture
def talker():
    """The address of a server that answers everybody with what takes for ever to be matched."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = []

        def run():
            with contextlib.suppress(OSError):
                while True:
                    conn, _ = listener.accept()
                    taken.append(conn)
                    conn.sendall(REPLY + b"\n")

        thread = threading.Thread(target=run)
        thread.start()
        yield "tcp://{}:{}".format(*listener.getsockname())
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        for conn in taken:
            conn.close()


def test_a_pattern_that_takes_for_ever_ends_with_the_time(penstock, talker):
    """And says what took so long."""
    done = penstock("send", talker, "--codec", "lines", "--timeout", "500ms", "--expect", ENDLESS, "x")

    assert (1, REPLY.decode() + "\n") == (done.returncode, done.stdout)
    assert (
        f"penstock: error: no reply of {talker} has a match of '{ENDLESS}' within 500ms\n"
        "  the regular expression was still being matched: it tries too much\n"
    ) == done.stderr


def test_a_pattern_that_takes_for_ever_ends_with_ctrl_c(environ, directory, talker):
    """As anything does."""
    command = [sys.executable, "-m", "penstock", "send", talker, "--codec", "lines", "--timeout", "none"]
    with subprocess.Popen(
        [*command, "--expect", ENDLESS, "x"], cwd=directory, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert REPLY + b"\n" == process.stdout.readline()
        process.send_signal(signal.SIGINT)

        assert (130, b"") == (process.wait(20), process.stderr.read())


@given(
    pattern=st.sampled_from(["a", "^P.NG$", "a+b", "(?i)pong|ping", r"[0-9]{3}", r"\bé", "", "a{2}$", r"\|"]),
    replies=st.lists(st.binary(max_size=20) | st.sampled_from([b"PONG", b"aab", "é".encode(), b"123"]), min_size=1),
)
def test_it_finds_what_the_re_module_finds(pattern, replies):
    """Whether a process looks, or this one."""

    async def look():
        async with Expectation(pattern, 20.0) as expected:
            return [await expected.is_met_by(reply) for reply in replies]

    wanted = re.compile(pattern.encode())

    assert [wanted.search(reply) is not None for reply in replies] == asyncio.run(look())


async def test_a_search_that_is_cancelled_leaves_no_process():
    """It is killed, and waited for."""
    async with Expectation(ENDLESS, None) as expected:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(expected.is_met_by(REPLY), 0.3)
        process = expected._process
        assert process.returncode is None

    assert process.returncode is not None


async def test_a_process_that_was_ended_is_an_error():
    """Not a match, and not the lack of one."""
    async with Expectation("a+", 20.0) as expected:
        assert await expected.is_met_by(b"aa")
        expected._process.kill()
        with pytest.raises(PenstockError, match="was ended"):
            await expected.is_met_by(b"aa")


@pytest.mark.parametrize("text", ["(", "a{99999999999}", "*"])
def test_what_is_no_pattern_is_refused(text):
    """Before anything is connected."""
    with pytest.raises(ConfigurationError, match="is not a valid regular expression"):
        Expectation(text, None)
