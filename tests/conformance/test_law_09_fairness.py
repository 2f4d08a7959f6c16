"""Law 9: a connection that sends without pause does not keep the others from their turn (T-05)."""

import time

import pytest

from penstock.config import Limits
from penstock.core.turns import LOOKED_AT
from penstock.testing.engines import LOOPS


@pytest.mark.parametrize("budget", [1, 16, 256])
@pytest.mark.engines("pure", "uvloop", "native")
@pytest.mark.forms(lambda form: form.label in ("def-message", "def-message-conn", "def-callbacks", "async-connection"))
def test_a_firehose_leaves_the_others_their_turn(serve, form, engine, budget, figure):
    """Between a message of another connection and its handling are at most ``batch_messages`` of the firehose."""
    order = []

    def react(_conn, message):
        if message == b"first":
            other.sendall(b"other\n")  # from here on the other one waits
            order.clear()
        order.append(message)
        return message if message == b"other" else None

    with serve(react, limits=Limits(batch_messages=budget)) as server:
        with server.dial() as firehose, server.dial() as other:
            other.sendall(b"other\n")
            assert b"other\n" == other.recv(100)
            firehose.sendall(b"first\n" + b"x\n" * 5000)
            assert b"other\n" == other.recv(100)

    between = order.index(b"other")
    if form.label == "def-message":
        figure(f"T-05 messages of a firehose before another's turn, {engine.label}, budget {budget}: {between}")

    assert budget >= between


@pytest.mark.engines(*LOOPS)
@pytest.mark.forms(lambda form: form.model == "loop")
def test_a_batch_ends_by_the_time_it_takes(serve, form, engine):
    """A handler that becomes slow does not keep its peer's whole batch before the others' turn; nothing is lost."""
    order = []

    def react(_conn, message):
        if message == b"first":
            other.sendall(b"other\n")  # from here on the other one waits
            order.clear()
        elif message == b"slow":
            time.sleep(0.001)
        order.append(message)
        return message if message in {b"other", b"last"} else None

    with serve(react, limits=Limits(batch_messages=256)) as server:
        with server.dial() as firehose, server.dial() as other:
            firehose.sendall(b"quick\n" * 5000 + b"last\n")  # batches become as large as they may be
            assert b"last\n" == firehose.recv(100)
            firehose.sendall(b"first\n" + b"slow\n" * 300 + b"last\n")
            assert b"other\n" == other.recv(100)
            assert b"last\n" == firehose.recv(100)

    assert 2 * LOOKED_AT >= order.index(b"other")
    assert (300, 1) == (order.count(b"slow"), order.count(b"last"))
