"""Several addresses of one server, and one gate for all of them: a crowd at one keeps nobody out at another."""

import time

import pytest

import penstock
from penstock.config import GateConfig, Timeouts
from penstock.core.events import EventName
from penstock.testing.clock import ManualClock
from penstock.testing.peers import PATIENCE_S, read_exactly
from penstock.units import Rate

CROWD = 20


@penstock.on_message(codec="lines")
def once(conn, message):
    """Answer one line."""
    conn.close()
    return message


def schemes(server):
    """Where connections were accepted, in order."""
    return [str(event.connection.local.scheme) for event in server.record.of(EventName.ACCEPTED)]


@pytest.mark.parametrize("scheme", ["unix", "unix+seqpacket"])
def test_the_places_go_round_the_addresses(serve, opened, tmp_path, engine, scheme, figure):
    """With ``wait``, who comes to one address is not held up by a backlog of another one that is never empty."""
    gate = GateConfig(max_connections=1, on_refusal=("wait",))
    timeouts = Timeouts(drain_s=10.0, linger_s=0.0)
    with serve(once, gate=gate, timeouts=timeouts, bind=["tcp://127.0.0.1:0", f"{scheme}:{tmp_path}/s"]) as server:
        server.call(server.server.suspend)
        peers = [*(server.dial(0) for _ in range(CROWD)), server.dial(1)]
        opened.extend(peers)
        for peer in peers:
            peer.sendall(b"ping" if peer is peers[-1] and "seqpacket" in scheme else b"ping\n")
        server.call(server.server.resume)
        answers = []
        for peer in (peers[-1], *peers[:-1]):
            answers.append(read_exactly(peer, 6).strip())
            peer.close()
        server.wait_closed(len(peers))
        before = schemes(server).index(scheme)
    figure(
        f"T-25 {engine.label}: {CROWD} wait at one address for one place, one at {scheme}: {before} served before it"
    )

    assert [b"ping"] * len(peers) == answers
    assert before <= 1


def test_a_rate_goes_round_the_addresses(serve, opened, tmp_path, engine):
    """Every other one is taken from each."""
    clock = ManualClock()
    gate = GateConfig(accept_rate=Rate(1), on_refusal=("wait",))

    def door_waits():
        # Of all timers that are set, those of connections too, only the door's is due so soon. Before it is set, who
        # accepts may still look at the clock, and would take another one from the same address.
        return any(when <= clock.time() + 1.1 and not timer.cancelled for when, _, timer in list(clock._timers))

    def accepted():
        clock.advance(0.0)  # a timer that another thread set for this very instant, a moment after it came
        return server.server.stats.accepted

    def wait(fact):
        until = time.monotonic() + PATIENCE_S
        while not server.call(fact):
            assert time.monotonic() < until

    with serve(once, gate=gate, clock=clock, bind=["tcp://127.0.0.1:0", f"unix:{tmp_path}/s"]) as server:
        server.call(server.server.suspend)
        opened.extend([*(server.dial(0) for _ in range(6)), server.dial(1), server.dial(1)])
        server.call(server.server.resume)
        for count in range(1, 4):
            wait(lambda count=count: accepted() == count)
            wait(door_waits)
            server.call(lambda: clock.advance(1.0))
        wait(lambda: accepted() == 4)
        found = schemes(server)

    assert ["tcp", "tcp", "unix", "unix"] == sorted(found)
