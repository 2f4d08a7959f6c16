"""Many at once: connects and resets, handlers that raise, resets at the worst moments. T-41, T-02."""

import asyncio
import contextlib
import socket

import pytest

import penstock
from penstock.config import GateConfig, Timeouts
from penstock.core.states import TRANSITIONS, Happening, State
from penstock.testing.peers import dial, reset

KIB = 1024


@penstock.on_message(codec="lines")
def echo(message):
    return message


def test_a_flood_of_connects_and_resets_leaves_nothing_behind(serve, tools, opened, engine, figure):
    """T-41: counters exact, no traceback, and not one descriptor more than before (the fixture counts them)."""
    total = 3000
    with serve(echo, access_log=False) as server:
        honest = server.dial()
        opened.append(honest)
        for index in range(total):
            sock = server.dial()
            if index % 3 == 1:
                sock.send(b"half a line")
            elif index % 3 == 2:
                sock.send(b"a line\n" * 10)
            reset(sock)
        server.wait_closed(total)
        answer = tools.ask(honest)
        stats = server.server.stats
        closed = dict(stats.closed)
    figure(f"T-41 {engine.label}: {total} connects and resets: {stats.accepted} accepted, ended as {closed}")

    assert b"ping\n" == answer
    assert (total + 1, total) == (stats.accepted, sum(closed.values()))
    assert {"reset", "network"} >= set(closed)
    assert 0 == stats.handler_errors


def test_a_handler_that_raises_on_every_message_ends_one_connection_each_time(serve, tools, opened, engine, figure):
    """Errors are counted one by one, whoever is next is served, and the server lives."""
    total = 300

    @penstock.on_message(codec="lines")
    def raises(message):
        if message == b"ping":
            return message
        raise RuntimeError("on purpose")

    with serve(raises, fails=total, access_log=False) as server:
        honest = server.dial()
        opened.append(honest)
        answers = 0
        for _ in range(total):
            sock = server.dial()
            sock.sendall(b"boom\n" * 50)
            answers += tools.ask(honest) == b"ping\n"
            with contextlib.suppress(ConnectionResetError):
                while sock.recv(65536):
                    pass
            sock.close()
        reasons = server.reasons(total)
    figure(f"T-41 {engine.label}: {total} connections whose handler raises: {answers} answers to another one between")

    assert total == answers
    assert ["handler_error"] * total == reasons


def test_a_handler_that_cannot_be_made_takes_no_place(serve, dial_from, tools, engine, figure):
    """A constructor that raises for one peer ends that one; with room for two, the twenty-first is served."""
    broken = 20

    class Picky(penstock.Handler):
        made = 0

        def __init__(self):
            Picky.made += 1
            if Picky.made <= broken:
                raise RuntimeError("on purpose")

        def on_message(self, conn, message):
            return message

    service = penstock.as_service(Picky, codec="lines")
    timeouts = Timeouts(linger_s=0.0, drain_s=10.0)
    with serve(service, fails=broken, gate=GateConfig(max_connections=2), timeouts=timeouts) as server:
        answers = []
        for attempt in range(broken):
            answers.append(tools.ask(dial_from(server)))
            server.wait_until(lambda it, count=attempt + 1: it.stats.handler_errors == count and it.gate.open == 0)
        answers.append(tools.ask(dial_from(server)))
    figure(f"T-41 {engine.label}: {broken} handlers that cannot be made, room for 2: the next peer is served")

    assert [None] * broken + [b"ping\n"] == answers


# -- a reset in every state --------------------------------------------------------------------------------------------


class Stage:
    """A conversation that brings its connection into a state and stays there until it is told to go on."""

    def __init__(self):
        self.on = None

    def service(self, state):
        @penstock.on_connection(codec="lines:max=1MiB")
        async def converse(conn):
            self.on = asyncio.Event()
            await conn.receive()
            if state in (State.LOCAL_EOF, State.BOTH_EOF):
                conn.send_eof()
            if state in (State.CLOSING, State.FLUSHING):
                with contextlib.suppress(penstock.SlowPeerError):
                    for _ in range(100):
                        conn.post(b"x" * (64 * KIB))
            if state in (State.CLOSING, State.FLUSHING, State.LINGERING):
                conn.close()
                return
            await self.on.wait()
            with contextlib.suppress(penstock.PenstockError):
                await conn.send(b"still there?")

        return converse


def states(server):
    """The states of a server's connections, as they show them."""
    return [repr(conn).removesuffix(">").rpartition(" ")[2] for conn in server.connections]


# In these the peer has sent EOF before its reset.
PEER_ENDED = {State.PEER_EOF, State.BOTH_EOF, State.FLUSHING}


@pytest.mark.engines("pure", "uvloop", "native")  # the conversation is a coroutine
@pytest.mark.parametrize(
    "state", [state for state, entries in TRANSITIONS.items() if Happening.LOST in entries], ids=lambda it: it.value
)
def test_a_reset_in_every_state_is_one_end(serve, state, until, opened, engine, figure):
    """Drawn from the table: wherever a connection can be lost, a reset loses it, once, with a reason, without noise."""
    stage = Stage()
    limits = penstock.Limits(write_max_bytes=64 * 1024 * KIB)
    timeouts = Timeouts(drain_s=10.0, linger_s=None, write_s=None)
    with serve(stage.service(state), limits=limits, timeouts=timeouts) as server:
        sock = dial(server.address, receive_buffer_bytes=4096)
        sock.sendall(b"begin\n")
        if state in PEER_ENDED:
            sock.shutdown(socket.SHUT_WR)
        until(server, lambda it: stage.on is not None and states(it) == [state.value])
        reset(sock)
        if state not in (State.CLOSING, State.FLUSHING, State.LINGERING):
            server.call(stage.on.set)
        reasons = server.reasons(1)
    figure(f"T-02 {engine.label}: a reset while {state.value}: {reasons[0]}")

    assert 1 == len(reasons)
    assert reasons[0] in {"reset", "network", "done", "peer_closed"}
