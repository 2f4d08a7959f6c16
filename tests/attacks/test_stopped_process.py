"""T-77: a process that did not run for a while (SIGSTOP, a suspended machine) does not blame its peers for that."""

import os
import signal
import socket
import time

import pytest

PEERS = 50
TIMEOUT_S = 0.5
STOPPED_S = 1.5


def receive(sock, size):
    received = b""
    while len(received) < size and (data := sock.recv(65536)):
        received += data
    return received


@pytest.fixture
def peers(start):
    """A server whose every patience is half a second, and peers that are at work with it."""
    timeouts = ("message", "idle", "first-message")
    server = start("--codec", "lines", *[f"--timeout-{which}={TIMEOUT_S}s" for which in timeouts])
    socks = [server.connect() for _ in range(PEERS)]
    yield server, socks
    for sock in socks:
        sock.close()


def stop_for_a_while(server, meanwhile):
    os.kill(server.pid, signal.SIGSTOP)
    meanwhile()
    time.sleep(STOPPED_S)  # the time that passes is what this is about
    os.kill(server.pid, signal.SIGCONT)


@pytest.mark.engines("pure", "uvloop", "blocking", "native")
def test_who_was_in_time_is_served_when_the_process_runs_again(peers, engine, figure):
    """Every deadline has passed when it wakes up; the rest of each message lies in the kernel, and comes first."""
    server, socks = peers
    for sock in socks:
        sock.sendall(b"first\nsec")
    first = [receive(sock, 6) for sock in socks]

    def finish():
        for sock in socks:
            sock.sendall(b"ond\n")

    stop_for_a_while(server, finish)
    second = [receive(sock, 7) for sock in socks]
    figure(f"T-77 {engine.label}: stopped for {STOPPED_S} s with patience of {TIMEOUT_S} s, {len(second)} peers served")

    assert [b"first\n"] * PEERS == first
    assert [b"second\n"] * PEERS == second


@pytest.mark.engines("pure", "uvloop", "blocking", "native")
def test_who_was_not_in_time_is_let_go_once_and_newcomers_are_served(peers, engine):
    """A clean end and no traceback; who waited in the backlog the whole time has its patience still before it."""
    server, socks = peers
    for sock in socks:
        sock.sendall(b"first\nsec")
    first = [receive(sock, 6) for sock in socks]
    late = socket.socket()
    late.settimeout(socks[0].gettimeout())
    stop_for_a_while(server, lambda: late.connect(server.address))
    late.sendall(b"hello\n")
    ends = [receive(sock, 1) for sock in socks]
    answer = receive(late, 6)
    late.close()

    assert [b"first\n"] * PEERS == first
    assert [b""] * PEERS == ends
    assert b"hello\n" == answer
    assert 0 == server.end()
    assert "Traceback" not in server.log.read_text()
