"""T-29: short of memory, a server gives up the most expensive first, refuses for a while, and recovers."""

import math

import penstock
from penstock.config import Limits, OverloadConfig, Timeouts
from penstock.core.events import EventName
from penstock.core.memory import Pressure
from penstock.server import memory
from penstock.testing.clock import ManualClock
from penstock.testing.peers import dial, read_exactly

MIB = 1024**2
LIMIT = 100 * MIB


class Owe(penstock.Handler):
    """Owes its peer as many chunks of 64 KiB as it asks for."""

    def on_message(self, conn, message):
        if message == b"ping":
            return message
        for _ in range(int(message)):
            conn.post(b"x" * (64 * 1024 - 1))
        conn.state = "owed"
        return None


def test_the_ladder_goes_up_and_down_and_the_honest_are_served(
    serve, opened, dial_from, tools, until, monkeypatch, engine, figure
):
    """The reading is told: what the connections hold, and as much beside it as each step needs."""
    beside, server = 0, None

    def held():
        return sum(conn.held_bytes for conn in server.server.connections)

    monkeypatch.setattr(memory, "READ_S", 0.01)
    monkeypatch.setattr(memory, "READ_UNDER_PRESSURE_S", 0.01)
    monkeypatch.setattr(memory, "resident_bytes", lambda: beside + held() if server else 0)
    with serve(
        penstock.as_service(Owe, codec="lines:max=1MiB"),
        limits=Limits(write_max_bytes=64 * MIB),
        overload=OverloadConfig(memory_bytes=LIMIT, write_total_bytes=None),
        timeouts=Timeouts(first_message_s=None, drain_s=10.0),
    ) as started:
        server = started
        honest = dial_from(server)
        greedy = []
        for chunks in (100, 150, 350):  # the kernels take some MiB of each
            sock = dial(server.address, receive_buffer_bytes=4096)
            opened.append(sock)
            sock.sendall(b"%d\n" % chunks)
            greedy.append(sock)
        until(server, lambda it: len([conn for conn in it.connections if conn.state == "owed"]) == 3)
        largest = max(server.call(lambda: [conn.held_bytes for conn in server.server.connections]))
        answers = []
        for step, share in ((Pressure.PAUSE, 82), (Pressure.REFUSE, 92), (Pressure.SHED, 96)):
            beside = share * MIB - server.call(held)
            server.wait_until(lambda it, step=step: step in pressures(server))
            answers.append(tools.ask(honest))
            if step is Pressure.REFUSE:
                newcomer = tools.fate(dial_from(server))
        reasons = server.reasons(1)
        beside = 0
        server.wait_until(lambda it: pressures(server)[-1] is Pressure.CALM)
        answers.append(tools.ask(dial_from(server)))
        ended = [event.bytes_in for event in server.record.of(EventName.CLOSED)]
        steps = [step.name.lower() for step in pressures(server)]
    figure(
        f"T-29 {engine.label}: {' > '.join(steps)}; {len(reasons)} ended, which held {largest // MIB} MiB; "
        f"a newcomer meanwhile: {newcomer}"
    )

    assert ["pause", "refuse", "shed"] == steps[:3]
    assert ["overload"] == reasons
    assert [len(b"350\n")] == ended[:1]
    assert "reset" == newcomer
    assert [b"ping\n"] * 4 == answers


def pressures(server):
    """The steps of the ladder so far."""
    return [event.pressure for event in server.record.of(EventName.PRESSURE)]


def test_who_was_not_read_while_memory_was_short_is_read_again(serve, opened, until, tools, engine):
    """Half a message is held bytes: its other half stays with the kernel until all is as usual."""
    with serve(penstock.as_service(Owe, codec="lines")) as server:
        peer, other = server.dial(), server.dial()
        opened.extend([peer, other])
        peer.sendall(b"pi")
        until(server, lambda it: sorted(conn.bytes_in for conn in it.connections) == [0, 2])
        server.call(lambda: server.server._at_work.shed_load(Pressure.PAUSE, 0))
        # A thread that is in recv(2) cannot be woken, and stays there for 10 ms at most.
        until(server, lambda it: not any(getattr(conn, "_parked", False) for conn in it.connections))
        peer.sendall(b"ng\n")
        assert b"ping\n" == tools.ask(other)
        assert [2, 5] == sorted(server.call(lambda: [conn.bytes_in for conn in server.server.connections]))
        server.call(lambda: server.server._at_work.shed_load(Pressure.CALM, 0))

        assert b"ping\n" == peer.recv(100)


def test_who_holds_nothing_any_more_is_read_though_memory_is_short_still(serve, opened, until, tools, engine):
    """A moment in which its reply waited is not held against a peer for as long as others keep memory short."""

    def shed_load(server):
        server.call(lambda: server.server._at_work.shed_load(Pressure.PAUSE, 0))

    with serve(penstock.as_service(Owe, codec="lines:max=1MiB"), limits=Limits(write_max_bytes=64 * MIB)) as server:
        peer = dial(server.address, receive_buffer_bytes=4096)
        opened.append(peer)
        peer.sendall(b"100\n")
        until(server, lambda it: [conn.state for conn in it.connections] == ["owed"])
        shed_load(server)
        assert 100 * 64 * 1024 == len(read_exactly(peer, 100 * 64 * 1024))
        until(server, lambda it: not any(conn.held_bytes for conn in it.connections))
        shed_load(server)

        assert b"ping\n" == tools.ask(peer)


def test_the_idle_are_let_go_sooner_while_memory_is_short(serve, opened, until, tools, engine):
    """After a tenth of their time, to the tick, and as at their deadline; who is not idle stays."""
    clock = ManualClock()
    timeouts = Timeouts(first_message_s=None, idle_s=40.0, drain_s=10.0, linger_s=0.0)
    with serve(penstock.as_service(Owe, codec="lines"), clock=clock, timeouts=timeouts) as server:

        def shed_load_after(seconds):
            # Where a thread serves each, it has begun to wait before time goes on.
            until(server, lambda it: all(_waits(conn) for conn in it.connections))
            server.call(lambda: clock.advance(seconds))
            server.call(lambda: server.server._at_work.shed_load(Pressure.PAUSE, 0))

        idle, busy = server.dial(), server.dial()
        opened.extend([idle, busy])
        assert [b"ping\n"] * 2 == [tools.ask(idle), tools.ask(busy)]
        shed_load_after(3.75)
        assert b"ping\n" == tools.ask(busy)
        assert [] == server.record.reasons
        shed_load_after(0.25)

        assert b"" == idle.recv(1)
        idle.close()
        assert ["idle_timeout"] == server.reasons(1)
        assert b"ping\n" == tools.ask(busy)


def _waits(conn):
    """Its handler waits for the peer. Compiled connections do not show it; they are there when the reply is."""
    return getattr(conn, "_idle_since", 0.0) != math.inf
