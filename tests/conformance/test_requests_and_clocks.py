"""While a reply is waited for, so is its peer: the clocks know who waits for whom, however many ask at once."""

import asyncio
import threading

import pytest

import penstock
from penstock.testing.clock import ManualClock
from penstock.testing.peers import read_exactly, read_to_end

pytestmark = pytest.mark.engines("pure", "native", "uvloop", "attached")

IDLE = penstock.Timeouts(idle_s=8.0, first_message_s=None)


@pytest.fixture
def clock():
    return ManualClock()


class Told:
    """What happened; a test waits for it."""

    def __init__(self):
        self.words = []
        self.changed = threading.Condition()

    def say(self, word):
        with self.changed:
            self.words.append(word)
            self.changed.notify_all()

    def wait_for(self, *words):
        with self.changed:
            assert self.changed.wait_for(lambda: self.words == list(words), 20), self.words

    async def ask(self, conn, message, timeout_s=None):
        try:
            self.say((await conn.request(message, timeout_s)).decode())
        except (TimeoutError, penstock.RequestLostError) as error:
            self.say(type(error).__name__)


@pytest.fixture
def told():
    return Told()


@pytest.mark.parametrize("answered", [True, False], ids=["answered", "given up"])
@pytest.mark.parametrize("receives", [True, False], ids=["receives", "waits"])
def test_a_peer_that_owes_another_reply_is_held_to_its_idle_timeout(serve, engine, clock, told, answered, receives):
    """The one that ends first stops no clock of the other's."""

    @penstock.on_connection(codec="lines")
    async def handler(conn):
        conn.task(told.ask(conn, b"one?", 2.0))
        conn.task(told.ask(conn, b"two?"))
        if receives:
            async for message in conn:
                told.say(message.decode())
        await conn.wait_closed()

    with serve(handler, clock=clock, timeouts=IDLE) as server, server.dial() as peer:
        assert b"one?\ntwo?\n" == read_exactly(peer, 10)
        if answered:
            peer.sendall(b"1\n")
            told.wait_for("1")
        else:
            server.call(lambda: clock.advance(2.0))
            told.wait_for("TimedOutError")
        server.call(lambda: clock.advance(8.0))

        assert b"" == read_to_end(peer)
        assert ["idle_timeout"] == server.reasons(1)
        told.wait_for("1" if answered else "TimedOutError", "RequestLostError")


@pytest.mark.parametrize("answered", [True, False], ids=["answered", "given up"])
def test_the_peer_of_a_conversation_that_waits_elsewhere_is_idle_after_its_reply(serve, engine, clock, told, answered):
    """A reply is no message that its handler is at work on."""

    @penstock.on_connection(codec="lines")
    async def handler(conn):
        conn.task(told.ask(conn, b"one?", 2.0))
        await conn.wait_closed()

    with serve(handler, clock=clock, timeouts=IDLE) as server, server.dial() as peer:
        assert b"one?\n" == read_exactly(peer, 5)
        if answered:
            peer.sendall(b"1\n")
            told.wait_for("1")
        else:
            server.call(lambda: clock.advance(2.0))
            told.wait_for("TimedOutError")
        assert [False] == server.call(lambda: [conn.has_unfinished for conn in server.server.connections])
        server.call(lambda: clock.advance(8.0))

        assert b"" == read_to_end(peer)
        assert ["idle_timeout"] == server.reasons(1)


@pytest.mark.parametrize("answered", [True, False], ids=["answered", "given up"])
@pytest.mark.parametrize("kind", ["awaits", "task"])
def test_a_message_stays_at_work_when_its_handler_asks(serve, engine, clock, told, kind, answered):
    """Its sender is not idle, and its handler is none that may be cancelled once its sender has gone."""
    go_on = []

    @penstock.on_message(codec="lines")
    async def handler(conn, message):
        go_on.append(asyncio.Event())
        if kind == "awaits":
            await told.ask(conn, b"who?", 2.0)
        else:
            conn.task(told.ask(conn, b"who?", 2.0))
        await go_on[0].wait()
        return message

    with serve(handler, clock=clock, timeouts=IDLE) as server, server.dial() as peer:
        peer.sendall(b"go\n")
        assert b"who?\n" == read_exactly(peer, 5)

        assert [True] == server.call(lambda: [conn.has_unfinished for conn in server.server.connections])
        if answered:
            peer.sendall(b"1\n")
            told.wait_for("1")
        else:
            server.call(lambda: clock.advance(2.0))
            told.wait_for("TimedOutError")
        assert [True] == server.call(lambda: [conn.has_unfinished for conn in server.server.connections])
        server.call(lambda: clock.advance(80.0))
        server.call(go_on[0].set)

        assert b"go\n" == read_exactly(peer, 3)
