"""What the model and --once make of a handler."""

import pytest

import penstock
from penstock.config import ServerConfig
from penstock.core.handlers import ConnectionHandler
from penstock.errors import ConfigurationError
from penstock.server.model import once, place


@penstock.on_message
async def slow(message):
    """A coroutine."""


@penstock.on_message
def quick(message):
    return message


def test_a_coroutine_is_refused_under_threads():
    """A thread of the pool has no loop."""
    with pytest.raises(ConfigurationError) as caught:
        place(slow, ServerConfig(model="threads"))

    assert "slow is async: it runs on the loop, and --model threads is for def handlers; leave --model out" == str(
        caught.value
    )


def test_a_service_may_have_a_twin_for_threads():
    """It takes the place of the coroutine, under that model only."""
    from dataclasses import replace

    twin = ConnectionHandler(lambda conn: None, is_async=False)
    service = replace(slow, threaded=twin)

    assert twin is place(service, ServerConfig(model="threads")).handler
    assert slow.handler is place(service, ServerConfig()).handler


class Conn:
    """As much of a connection as `once` touches."""

    closed = False

    def close(self):
        self.closed = True


def test_once_closes_after_the_reply_of_the_first_message():
    """The reply is returned, as without once."""
    conn = Conn()

    assert b"x" == once(quick).handler.function(conn, b"x")
    assert conn.closed


async def test_once_awaits_coroutines():
    """The connection closes when the coroutine is over."""

    @penstock.on_message
    async def answer(conn, message):
        assert not conn.closed
        return message

    conn = Conn()

    assert b"x" == await once(answer).handler.function(conn, b"x")
    assert conn.closed


async def test_once_wraps_callbacks_of_either_kind():
    """`on_message` closes; the other callbacks are untouched."""

    class Sync(penstock.Handler):
        def on_message(self, conn, message):
            return message

    class Async(penstock.Handler):
        async def on_message(self, conn, message):
            return message

    conn = Conn()

    assert b"x" == once(penstock.as_service(Sync)).handler.factory().on_message(conn, b"x")
    assert conn.closed

    conn = Conn()

    assert b"x" == await once(penstock.as_service(Async)).handler.factory().on_message(conn, b"x")
    assert conn.closed
