"""Datagrams of the native engine when system calls and allocations fail: T-78 and T-79."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys

import pytest

from penstock.testing.peers import PATIENCE_S

COUNT = 60


def can_trace():
    """Whether there is strace, and it may."""
    strace = shutil.which("strace")
    return strace and 0 == subprocess.run([strace, "-o", os.devnull, "true"], stderr=subprocess.DEVNULL).returncode


traced = pytest.mark.skipif(not can_trace(), reason="there is no strace, or it may not trace")

SERVER = """
import asyncio, sys, penstock
from penstock.engines.native.engine import new_event_loop

@penstock.on_message
def echo(message):
    if message.startswith(b"nomemory "):
        from _testcapi import set_nomemory
        count = int(message.split()[1])
        set_nomemory(count, count + 1)
    return message

async def main():
    async with penstock.serve(echo, bind=sys.argv[1], engine="native") as server:
        print(server.addresses[0], flush=True)
        ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(sys.stdin, ended.set)
        await ended.wait()
        print(dict(server.stats.datagrams_dropped), flush=True)

with asyncio.Runner(loop_factory=new_event_loop) as runner:
    runner.run(main())
"""


@contextlib.contextmanager
def serving(bind, calls, fault, log):
    """An echo server, some of whose calls fail as strace is told."""
    tracer = ["strace", "-f", "-o", log, "-e", f"trace={calls}", "-e", f"inject={calls}:{fault}"]
    with subprocess.Popen(
        [*(tracer if calls else []), sys.executable, "-c", SERVER, bind],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "error"},
    ) as process:
        yield process.stdout.readline().strip(), process


@traced
@pytest.mark.parametrize(
    ("calls", "fault", "dropped"),
    [
        ("recvmmsg", "error=EINTR:when=1+2", {}),
        ("recvmmsg", "error=EAGAIN:when=1+2", {}),
        ("recvmmsg", "error=ENOMEM:when=1+2", {"OSError"}),
        ("recvmmsg", "error=ECONNREFUSED:when=1+2", {"ConnectionRefusedError"}),
        ("sendmmsg", "error=EINTR:when=1+2", {}),
        ("sendmmsg", "error=EAGAIN:when=1+2", {}),
        ("sendmmsg,sendto", "error=EAGAIN:when=1+2", {}),
        ("sendmmsg,sendto", "error=EAGAIN:when=1..9", {}),
    ],
    ids=str,
)
def test_what_was_received_is_answered_in_order_whatever_failed_meanwhile(calls, fault, dropped, tmp_path, figure):
    """Once each: the kernel that had no room is asked again."""
    log = tmp_path / "strace"
    with serving("udp://127.0.0.1:0", calls, fault, str(log)) as (address, process):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.settimeout(PATIENCE_S)
            peer.connect(("127.0.0.1", int(address.rpartition(":")[2])))
            for number in range(COUNT):
                peer.send(b"%d" % number)
            received = [peer.recv(100) for _ in range(COUNT)]
            peer.setblocking(False)
            with pytest.raises(BlockingIOError):
                peer.recv(100)
        told, errors = process.communicate("\n", timeout=PATIENCE_S)
    injected = log.read_text().count("(INJECTED)")
    figure(f"T-78 {calls} of datagrams, {fault}: {injected} times, {COUNT} of {COUNT} answered")

    assert [b"%d" % number for number in range(COUNT)] == received
    assert set(dropped) == set(eval(told))
    assert (0, "") == (process.returncode, errors)
    assert injected > 0


@traced
def test_an_answer_that_the_system_refuses_is_dropped_alone(tmp_path):
    """As EPERM from a firewall's rule: counted, and those after it in the same call are sent."""
    log = tmp_path / "strace"
    with serving("udp://127.0.0.1:0", "sendmmsg", "error=EPERM:when=1", str(log)) as (address, process):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.settimeout(PATIENCE_S)
            peer.connect(("127.0.0.1", int(address.rpartition(":")[2])))
            for number in range(3):
                peer.send(b"%d" % number)
            received = [peer.recv(100) for _ in range(2)]
        told, errors = process.communicate("\n", timeout=PATIENCE_S)

    assert [b"1", b"2"] == received
    assert {"PermissionError": 1} == eval(told)
    assert (0, "") == (process.returncode, errors)


def is_answered(peer, payload):
    """Whether a datagram is; it may be the one for which there was no memory.

    Answers keep the order of what they answer: that of a later one tells. That may be the one itself: two are sent.
    """
    for each in (payload, payload + b" 1", payload + b" 2"):
        peer.send(each)
    answered = False
    while not (received := peer.recv(100)).startswith(payload + b" "):
        answered |= payload == received
    return answered


def test_no_failed_allocation_of_the_interpreter_stops_the_listener(figure):
    """At most one datagram is lost, the one at hand; the next is answered."""
    pytest.importorskip("_testcapi")
    counts = range(60)
    with serving("udp://127.0.0.1:0", "", "", "") as (address, process):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.settimeout(PATIENCE_S)
            peer.connect(("127.0.0.1", int(address.rpartition(":")[2])))
            for count in counts:
                for payload in (b"before", b"nomemory %d" % count, b"1", b"2", b"3"):
                    peer.send(payload)
                assert is_answered(peer, b"after %d" % count) or is_answered(peer, b"after that %d" % count)
            # The last of them may not have failed yet, and is not to fail when the server ends.
            assert 19 <= sum(is_answered(peer, b"at last %d" % number) for number in range(20))
        _, errors = process.communicate("\n", timeout=PATIENCE_S)
    figure(f"T-79 datagrams: {len(counts)} allocations of the interpreter that failed, the listener answers on")

    assert 0 == process.returncode, errors
