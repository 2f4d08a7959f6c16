"""A long-lived program answers each line with one, and fails for one peer alone."""

import os
import shlex
import socket
import sys
from collections import Counter

import pytest

from penstock.adapters import service_of
from penstock.testing.engines import LOOPS
from penstock.testing.peers import read_to_end

pytestmark = pytest.mark.engines(*LOOPS)

# Answers with its own number; does something else where it is told to.
PROGRAM = """
import os, sys, time
for line in sys.stdin:
    line = line.strip()
    if line == "exit":
        sys.exit()
    if line == "sleep":
        time.sleep(60)
    if line == "twice":
        line = "twice\\nonce more"
    if line == "long":
        line = "x" * 200_000
    sys.stdout.write(f"{os.getpid()} {line}\\n")
    sys.stdout.flush()
"""


def program(code=PROGRAM):
    """A service of a program in Python."""
    return service_of(shlex.join([sys.executable, "-c", code]), kind="filter")


def asked(server, *lines):
    """Send lines; return what was answered, without the numbers of processes, and those numbers."""
    with server.dial() as peer:
        peer.sendall(b"".join(line + b"\n" for line in lines))
        peer.shutdown(socket.SHUT_WR)
        answers = [line.split(b" ", 1) for line in read_to_end(peer).splitlines()]
    return [answer for _, answer in answers], {pid for pid, _ in answers}


@pytest.mark.ciphered
def test_each_line_is_answered_by_the_same_process(serve, engine):
    """It lives longer than a connection."""
    with serve(program()) as server:
        first, one = asked(server, b"a", b"b")
        second, other = asked(server, b"c")

    assert [[b"a", b"b"], [b"c"]] == [first, second]
    assert one == other
    assert len(one) == 1


def test_several_peers_share_what_processes_there_may_be(serve, engine):
    """No more run than may; a line waits for its turn."""
    with serve(program(), max_processes=2) as server:
        peers = [server.dial() for _ in range(6)]
        for number, peer in enumerate(peers):
            peer.sendall(b"%d\n" % number)
            peer.shutdown(socket.SHUT_WR)
        answers = [read_to_end(peer).split() for peer in peers]
        for peer in peers:
            peer.close()

    assert [b"%d" % number for number in range(6)] == [answer for _, answer in answers]
    assert len({pid for pid, _ in answers}) <= 2


@pytest.mark.parametrize("fault", ["exit", "sleep", "twice", "long"])
def test_a_line_that_is_not_answered_with_a_line_fails_its_peer_alone(serve, engine, fault):
    """No answer, none in time, more than one, one without end: the process is killed; the next line has another one."""
    with serve(program(), fails=1, timeout_program="2s") as server:
        _, before = asked(server, b"a")
        assert ([], set()) == asked(server, fault.encode())
        answers, after = asked(server, b"b")
        assert 1 == server.reasons(3).count("handler_error")

    assert [b"b"] == answers
    assert before != after


@pytest.mark.parametrize("line", [b"a\rb", b"\r"], ids=["amid", "at its start"])
def test_a_line_that_a_program_could_read_as_two_is_not_written_to_it(serve, engine, line):
    """Python's text files end lines at CR, too: the second answer could be taken for that of another peer's line."""
    with serve(program(), max_processes=1) as server:
        answers, before = asked(server, b"a", line + b"c", b"never asked")
        assert [b"a"] == answers
        answers, after = asked(server, b"b")
        assert {"bad_frame": 1, "peer_closed": 1} == Counter(server.reasons(2))

    assert [b"b"] == answers
    assert before == after


def test_its_processes_end_with_the_server(serve, engine):
    """They are killed and waited for."""
    with serve(program()) as server:
        _, pids = asked(server, b"a")

    (pid,) = pids
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)


@pytest.mark.uncipherable("datagrams are not ciphered")
def test_a_datagram_is_a_line_with_or_without_its_end(serve, engine):
    """One that holds more than a line is not written to the program."""
    with serve(program(), bind="udp://127.0.0.1:0", max_processes=1) as server, server.dial() as peer:
        answers = []
        for data in (b"a", b"b\n", b"c\r\n"):
            peer.send(data)
            answers.append(peer.recv(100).split(b" ", 1))
        for data in (b"d\ne", b"d\re", b"d\n\n"):
            peer.send(data)
        peer.send(b"f")
        answers.append(peer.recv(100).split(b" ", 1))

    assert [b"a", b"b", b"c", b"f"] == [answer for _, answer in answers]
    assert len({pid for pid, _ in answers}) == 1
