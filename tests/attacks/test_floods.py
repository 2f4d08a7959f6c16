"""Many at once: connects and resets, handlers that raise. T-41."""

import contextlib
import logging

import pytest

import penstock
from penstock.config import GateConfig, Timeouts
from penstock.testing.peers import reset


@penstock.on_message(codec="lines")
def echo(message):
    return message


@pytest.mark.parametrize("total", [2000, pytest.param(20_000, marks=[pytest.mark.full, pytest.mark.timeout(120)])])
def test_a_flood_of_connects_and_resets_leaves_nothing_behind(serve, tools, opened, total, engine, figure, caplog):
    """T-41: counters exact, no traceback, and not one descriptor more than before (the fixture counts them)."""
    with serve(echo, access_log=False) as server:
        honest = server.dial()
        opened.append(honest)
        assert b"ping\n" == tools.ask(honest)
        for index in range(total):
            sock = server.dial()
            if index % 3 == 1:
                sock.send(b"half a line")
            elif index % 3 == 2:
                sock.send(b"a line\n" * 10)
            reset(sock)
        server.wait_closed(total)
        answer = tools.ask(honest)
        stats, gate = server.server.stats, server.server.gate
        closed, still = dict(stats.closed), gate.open
    figure(f"T-41 {engine.label}: {total} connects and resets: {stats.accepted} accepted, ended as {closed}")

    assert b"ping\n" == answer
    assert (total + 1, total) == (stats.accepted, sum(closed.values()))
    assert {"reset", "network"} >= set(closed)
    assert (1, 0) == (still, gate.open)
    assert (0, {}, {}) == (stats.handler_errors, dict(stats.refused), dict(stats.accept_errors))
    assert [] == [entry.getMessage() for entry in caplog.records if entry.levelno >= logging.ERROR]


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
