"""While a reply is waited for, so is its peer: the clocks know who waits for whom, however many ask at once."""

import asyncio
import threading

import pytest

import penstock
from penstock.codecs import Lines
from penstock.config import Limits
from penstock.testing.clock import ManualClock
from penstock.testing.peers import read_exactly, read_to_end

pytestmark = pytest.mark.engines("pure", "native", "uvloop", "attached")

IDLE = penstock.Timeouts(idle_s=8.0, first_message_s=None)
MESSAGE = penstock.Timeouts(idle_s=60.0, message_s=3.0, first_message_s=None)


class Numbered(Lines):
    """``?7 what`` asks, ``=7 what`` answers, anything else is a message of its own."""

    def request_id(self, message):
        return int(message.split()[0][1:]) if message.startswith(b"?") else None

    def reply_id(self, message):
        return int(message.split()[0][1:]) if message.startswith(b"=") else None


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


def come(server, peer, data, total):
    """Have bytes sent, and taken: so many then, all in all."""
    peer.sendall(data)
    server.wait_until(lambda each: sum(conn.bytes_in for conn in each.connections) >= total)


@pytest.mark.parametrize("codec", ["lines", Numbered()], ids=["in order", "by id"])
def test_a_reply_that_comes_byte_by_byte_must_be_whole_in_time_though_nobody_receives(
    serve, engine, clock, told, codec
):
    """As a message that is received: each byte is in time for the idle timeout."""

    @penstock.on_connection(codec=codec)
    async def handler(conn):
        await told.ask(conn, b"?1 one")
        await conn.wait_closed()

    with serve(handler, clock=clock, timeouts=MESSAGE) as server, server.dial() as peer:
        assert b"?1 one\n" == read_exactly(peer, 7)
        server.call(lambda: clock.advance(5.0))
        come(server, peer, b"=", 1)
        server.call(lambda: clock.advance(2.0))
        come(server, peer, b"1", 2)
        server.call(lambda: clock.advance(0.9))
        assert [None] == server.call(lambda: [conn.close_reason for conn in server.server.connections])
        server.call(lambda: clock.advance(0.2))

        assert b"" == read_to_end(peer)
        assert ["message_timeout"] == list(server.reasons(1))
        told.wait_for("RequestLostError")


def test_a_reply_that_begins_behind_another_message_has_its_own_time(serve, engine, clock, told):
    """It counts from its first byte, not from that of the message before, which nobody has received yet."""

    @penstock.on_connection(codec=Numbered())
    async def handler(conn):
        await told.ask(conn, b"?1 one")

    with serve(handler, clock=clock, timeouts=MESSAGE) as server, server.dial() as peer:
        assert b"?1 one\n" == read_exactly(peer, 7)
        come(server, peer, b"oth", 3)
        server.call(lambda: clock.advance(2.0))
        come(server, peer, b"er\n=1", 8)
        server.call(lambda: clock.advance(2.0))
        peer.sendall(b" in time\n")
        told.wait_for("=1 in time")


@pytest.mark.parametrize("owed", [0, 1])
def test_whole_messages_that_nobody_receives_are_not_held_against_a_peer_that_is_asked(
    serve, engine, clock, told, owed
):
    """They are not the start of one."""
    go = []

    @penstock.on_connection(codec=Numbered())
    async def handler(conn):
        go.append(asyncio.Event())
        if owed:
            conn.task(told.ask(conn, b"?1 one"))
        else:
            await conn.send(b"?1 one")
        await go[0].wait()
        await told.ask(conn, b"?2 two")
        await conn.wait_closed()

    with serve(handler, clock=clock, timeouts=MESSAGE) as server, server.dial() as peer:
        assert b"?1 one\n" == read_exactly(peer, 7)
        come(server, peer, b"whole\nwhole\n", 12)
        server.call(go[0].set)
        assert b"?2 two\n" == read_exactly(peer, 7)
        server.call(lambda: clock.advance(5.0))
        peer.sendall(b"=2 r\n")

        told.wait_for("=2 r")
        server.call(lambda: [conn.abort() for conn in server.server.connections])


def test_a_peer_that_is_not_read_any_more_is_not_late_with_its_reply(serve, engine, clock, told):
    """So much waits that nothing more is read, behind the start of a message."""

    @penstock.on_connection(codec=Numbered())
    async def handler(conn):
        conn.task(told.ask(conn, b"?1 one"))
        await conn.wait_closed()

    limits = Limits(read_bytes=4096)
    with serve(handler, clock=clock, timeouts=MESSAGE, limits=limits) as server, server.dial() as peer:
        assert b"?1 one\n" == read_exactly(peer, 7)
        come(server, peer, b"123456789\n" * 1000 + b"half", 5000)
        server.call(lambda: clock.advance(5.0))

        assert [None] == server.call(lambda: [conn.close_reason for conn in server.server.connections])
        server.call(lambda: [conn.abort() for conn in server.server.connections])


class ForgetfulClock(ManualClock):
    """Has no memory for another timer, where it is told so."""

    has_memory = True

    def call_at(self, when, callback, /):
        if not self.has_memory:
            raise MemoryError
        return super().call_at(when, callback)


def test_a_request_whose_timer_cannot_be_set_leaves_no_clock_running(serve, engine, told):
    """Its peer is not asked, and owes nothing: it is idle later on, and not late."""
    clock = ForgetfulClock()

    @penstock.on_connection(codec="lines")
    async def handler(conn):
        clock.has_memory = False
        try:
            await conn.request(b"one?")
        except MemoryError:
            told.say("no memory")
        clock.has_memory = True
        await conn.wait_closed()

    timeouts = penstock.Timeouts(idle_s=8.0, first_message_s=5.0)
    with serve(handler, clock=clock, timeouts=timeouts) as server, server.dial() as peer:
        told.wait_for("no memory")
        server.call(lambda: clock.advance(8.0))

        assert b"" == read_to_end(peer)
        assert ["idle_timeout"] == list(server.reasons(1))
