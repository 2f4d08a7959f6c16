"""T-28: a full server answers its control and health checks; their places are used by nobody else."""

import os
import socket

import pytest

import penstock
from penstock.config import GateConfig
from penstock.core.memory import Pressure
from penstock.testing.peers import PATIENCE_S, connect, read_exactly

HEALTH = "127.0.0.9"


@penstock.on_message(codec="lines:max=64KiB")
def echo(message):
    return message


def call_from(server, source):
    """Connect from an address of this machine."""
    sock = socket.socket()
    sock.settimeout(PATIENCE_S)
    sock.bind((source, 0))
    connect(sock, ("127.0.0.1", server.port))
    return sock


def is_answered(sock):
    """Whether the peer is there and answers; closes it otherwise."""
    try:
        sock.sendall(b"ping\n")
        if b"ping\n" == read_exactly(sock, 5):
            return True
    except ConnectionError:
        pass
    sock.close()
    return False


@pytest.fixture
def full(serve, engine):
    """A server that has all the connections it may have, and two places in reserve."""
    gate = GateConfig(max_connections=3, max_per_peer=3, reserve=2, reserve_for=(HEALTH,))
    options = {"threads": 64} if engine.name == "blocking" else {}
    with serve(echo, gate=gate, **options) as server:
        crowd = [call_from(server, "127.0.0.1") for _ in range(3)]
        assert [True] * 3 == [is_answered(sock) for sock in crowd]
        yield server, crowd
        for sock in crowd:
            sock.close()


@pytest.mark.uncipherable("who is refused has no handshake")
def test_a_health_check_is_answered_at_the_limit(full, engine, figure):
    """100 of 100, one at a time; of the others who come meanwhile none."""
    server, _ = full
    answered = others = 0
    for _ in range(100):
        check = call_from(server, HEALTH)
        answered += is_answered(check)
        others += is_answered(call_from(server, "127.0.0.2"))
        check.close()
        server.wait_connections(3)
    figure(f"T-28 {engine.label}: at the limit {answered} of 100 health checks answered, {others} of 100 others let in")

    server.wait_until(lambda it: it.stats.refused["limit"] == 100)  # which is counted after the peer was told

    assert (100, 0) == (answered, others)
    assert 100 == server.server.stats.refused.total()


@pytest.mark.uncipherable("who is refused has no handshake")
def test_the_places_of_the_reserve_are_counted(full, engine):
    """Two and no more while all is full; a place that is given back is there again."""
    server, crowd = full
    checks = [call_from(server, HEALTH) for _ in range(3)]
    assert [True, True, False] == [is_answered(sock) for sock in checks]
    checks[0].close()
    server.wait_connections(4)
    assert not is_answered(call_from(server, "127.0.0.2"))
    checks[0] = call_from(server, HEALTH)

    assert is_answered(checks[0])
    crowd[0].close()
    server.wait_connections(4)
    crowd[0] = call_from(server, "127.0.0.2")
    assert is_answered(crowd[0])
    for sock in checks:
        sock.close()


@pytest.mark.uncipherable("who is refused has no handshake")
def test_a_health_check_is_answered_when_memory_is_short(full, engine):
    """While everybody else is refused for want of memory, and those who hold most are ended."""
    server, crowd = full
    check = call_from(server, HEALTH)
    assert is_answered(check)
    for sock in (*crowd, check):
        sock.sendall(b"x" * 1000)  # held: the message is not whole
    crowd[0].sendall(b"y" * 1000)
    server.wait_until(lambda it: True)
    until_held(server, 5000)
    server.call(lambda: server.server.gate.shed(True))
    server.call(lambda: server.server._at_work.shed_load(Pressure.SHED, 1_000_000))
    assert ["overload"] * 3 == server.reasons(3)
    check.sendall(b"\n")

    assert b"x" * 1000 + b"\n" == read_exactly(check, 1001)
    assert not is_answered(call_from(server, "127.0.0.1"))
    second = call_from(server, HEALTH)
    assert is_answered(second)
    server.wait_until(lambda it: it.stats.refused["memory"] == 1)
    assert 1 == server.server.stats.refused.total()
    for sock in (check, second):
        sock.close()


@pytest.mark.uncipherable("who is refused has no handshake")
@pytest.mark.engines("blocking")
def test_a_health_check_has_a_thread_of_its_own(serve, engine):
    """Four of six threads are everybody's; nobody waits before it in the backlog."""
    with serve(echo, gate=GateConfig(reserve=2, reserve_for=(HEALTH,)), threads=6) as server:
        crowd = [call_from(server, "127.0.0.1") for _ in range(4)]
        assert [True] * 4 == [is_answered(sock) for sock in crowd]
        late = [is_answered(call_from(server, "127.0.0.1")) for _ in range(8)]
        checks = [call_from(server, HEALTH) for _ in range(2)]

        assert [True, True] == [is_answered(sock) for sock in checks]
        assert [False] * 8 == late
        for sock in crowd + checks:
            sock.close()


def until_held(server, size):
    """Wait until the server has read that much."""
    while server.call(lambda: sum(conn.held_bytes for conn in server.server.connections)) < size:
        pass


@pytest.mark.uncipherable("who is refused has no handshake")
def test_a_user_of_this_machine_can_have_the_reserve(serve, engine, tmp_path):
    """On a Unix socket it is kept for a uid or a gid: that of an operator."""
    gate = GateConfig(max_connections=1, reserve=1, reserve_for=(f"uid:{os.getuid()}",))
    with serve(echo, gate=gate, bind=f"unix://{tmp_path}/s") as server:
        peers = [server.dial() for _ in range(2)]
        assert [True, True] == [is_answered(sock) for sock in peers]
        third = server.dial()
        assert not is_answered(third)
        for sock in (*peers, third):
            sock.close()
    assert {"limit": 1} == dict(server.server.stats.refused)
