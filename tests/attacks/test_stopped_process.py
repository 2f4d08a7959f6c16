"""T-77: a process that did not run for a while (SIGSTOP, a suspended machine) does not blame its peers for that."""

import json
import os
import signal
import socket
import time
from pathlib import Path

import pytest

PEERS = 50
TIMEOUT_S = 0.5
STOPPED_S = 1.5
LONG_S = 35  # longer than any patience of a server that is told nothing, but for idle peers


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


def stop(server):
    """Stop the process; return when none of its threads runs any more."""
    os.kill(server.pid, signal.SIGSTOP)
    tasks = Path(f"/proc/{server.pid}/task")
    while any((task / "stat").read_text().rpartition(")")[2].split()[0] != "T" for task in tasks.iterdir()):
        pass


def stop_for_a_while(server, meanwhile):
    stop(server)
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


@pytest.mark.full
@pytest.mark.timeout(120)
@pytest.mark.full
@pytest.mark.engines("pure")  # all of them at once: most of it is waiting
def test_after_a_long_stop_only_those_who_were_silent_are_gone(start, figure):
    """Default patience, but for idle peers: of 50 none is blamed whose bytes are there; the log blames no handler."""
    began = time.monotonic()
    engines = ("pure", "blocking", "native")
    logged = ("--access-log", "--log-format=json", "--timeout-idle=20s")
    servers = [start("--codec", "lines", "--engine", name, *logged) for name in engines]
    peers = [[server.connect() for _ in range(PEERS)] for server in servers]
    silent = [server.connect() for server in servers]
    for sock in (sock for socks in peers for sock in socks):
        sock.sendall(b"first\nsec")
        assert b"first\n" == receive(sock, 6)
    for server in servers:
        stop(server)
    for sock in (sock for socks in peers for sock in socks):
        sock.sendall(b"ond\n")
    time.sleep(LONG_S)
    for server in servers:
        os.kill(server.pid, signal.SIGCONT)
    for name, server, socks, late in zip(engines, servers, peers, silent, strict=True):
        second = [receive(sock, 7) for sock in socks]
        end = late.recv(1)
        for sock in (*socks, late):
            sock.close()
        for number in range(1, PEERS + 2):
            server.logged(f'"conn_id": {number},')
        records = [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{")]
        ready, *ends = [record["event"] for record in records]
        closed = {record["conn_id"]: record for record in records[1:]}
        figure(f"T-77 {name}: stopped for {LONG_S} s: {second.count(b'second' + bytes([10]))} of {PEERS} peers served")

        assert [b"second\n"] * PEERS == second
        assert b"" == end
        assert ("ready", ["closed"] * (PEERS + 1)) == (ready, ends)
        assert PEERS + 1 == len(closed)
        assert "first_message_timeout" == closed.pop(PEERS + 1)["reason"]
        assert {"peer_closed"} == {record["reason"] for record in closed.values()}
        assert all(LONG_S < record["duration_s"] < time.monotonic() - began for record in closed.values())
        assert 0 == server.end()
