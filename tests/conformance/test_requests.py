"""A request to a peer is given its reply, wherever that stands in what the peer sends, and no handler is given it."""

import asyncio
import random
import socket
import threading

import pytest

import penstock
from penstock import errors
from penstock.codecs import Lines, parse_codec
from penstock.core.requests import MAX_OWED
from penstock.testing.clock import ManualClock
from penstock.testing.peers import read_exactly, read_to_end

WITH_CONN = pytest.mark.forms(lambda form: form.has_conn)


class Numbered(Lines):
    """``?7 what`` asks, ``=7 what`` answers, anything else is a message of its own."""

    def request_id(self, message):
        return int(message.split()[0][1:]) if message.startswith(b"?") else None

    def reply_id(self, message):
        return int(message.split()[0][1:]) if message.startswith(b"=") else None


class Noted:
    """What tasks and handlers said; a test waits for it."""

    def __init__(self):
        self.words = []
        self.changed = threading.Condition()

    def say(self, word):
        with self.changed:
            self.words.append(word)
            self.changed.notify_all()

    def wait_for(self, count):
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.words) >= count, 20), self.words
        return self.words


@pytest.fixture
def noted():
    return Noted()


async def ask(conn, noted, message, timeout_s=None):
    """Say the reply, or the name of what came in its place."""
    try:
        noted.say((await conn.request(message, timeout_s)).decode())
    except (penstock.PenstockError, TimeoutError) as error:
        noted.say(type(error).__name__)


def asks(noted, count=1, timeout_s=None):
    """React to ``go`` with so many requests, numbered; anything else is said in capitals."""

    def react(conn, message):
        if message == b"go":
            for number in range(1, count + 1):
                conn.task(ask(conn, noted, b"?%d who" % number, timeout_s))
            return None
        return message.upper()

    return react


@pytest.mark.ciphered
@WITH_CONN
def test_a_reply_is_given_to_who_asked(serve, form, noted):
    """In order, where the codec has no ids; what comes when nothing is owed is the handler's again."""
    with serve(asks(noted)) as server, server.dial() as peer:
        peer.sendall(b"go\n")

        assert b"?1 who\n" == read_exactly(peer, 7)
        peer.sendall(b"ada\nnext\n")
        assert b"NEXT\n" == read_exactly(peer, 5)
        assert ["ada"] == noted.wait_for(1)


@WITH_CONN
def test_replies_in_order_go_to_requests_in_order(serve, form, noted):
    """Several may be owed at once."""
    with serve(asks(noted, 3)) as server, server.dial() as peer:
        peer.sendall(b"go\n")

        assert b"?1 who\n?2 who\n?3 who\n" == read_exactly(peer, 21)
        peer.sendall(b"a\nb\nc\nd\n")
        assert b"D\n" == read_exactly(peer, 2)
        assert ["a", "b", "c"] == noted.wait_for(3)


@WITH_CONN
def test_replies_with_ids_come_in_any_order_between_other_messages(serve, form, noted):
    """Each finds its request; what answers nothing that was asked is a message."""
    with serve(asks(noted, 3), codec=Numbered()) as server, server.dial() as peer:
        peer.sendall(b"go\n")

        assert b"?1 who\n?2 who\n?3 who\n" == read_exactly(peer, 21)
        peer.sendall(b"x\n=3 c\ny\n=9 nobody\n=1 a\n=1 again\nz\n=2 b\n")
        assert b"X\nY\n=9 NOBODY\n=1 AGAIN\nZ\n" == read_exactly(peer, 25)
        assert ["=1 a", "=2 b", "=3 c"] == sorted(noted.wait_for(3))


@WITH_CONN
@pytest.mark.parametrize("options", [{}, {"on_oversize": "skip"}], ids=["batches", "singly"])
def test_where_the_network_cuts_does_not_matter(serve, form, noted, options):
    """Replies, and messages between them, in pieces of any size: nothing is lost, and nothing changes its order."""
    chosen = random.Random(form.label)
    with serve(asks(noted, 20), codec=Numbered(**options)) as server, server.dial() as peer:
        peer.sendall(b"go\n")
        read_exactly(peer, sum(len(b"?%d who\n" % number) for number in range(1, 21)))
        numbers = list(range(1, 21))
        chosen.shuffle(numbers)
        messages = [chosen.randbytes(chosen.randrange(40)).hex().encode() for _ in numbers]
        wire = b"".join(
            b"%s\n=%d r%d\n" % (message, number, number) for message, number in zip(messages, numbers, strict=True)
        )
        while wire:
            size = chosen.randint(1, 90)
            peer.sendall(wire[:size])
            wire = wire[size:]
        said = b"".join(message.upper() + b"\n" for message in messages)

        assert said == read_exactly(peer, len(said))
        assert {f"={number} r{number}" for number in numbers} == set(noted.wait_for(20))


@pytest.mark.engines("pure", "native", "uvloop", "attached")
def test_a_conversation_may_ask_and_receive_what_came_meanwhile(serve, engine, noted):
    """Nobody receives while it waits for the reply: what comes before it is received afterwards, in order."""

    @penstock.on_connection(codec=Numbered())
    async def handler(conn):
        noted.say((await conn.request(b"?1 who")).decode())
        async for message in conn:
            noted.say(message.decode())

    with serve(handler) as server, server.dial() as peer:
        assert b"?1 who\n" == read_exactly(peer, 7)
        peer.sendall(b"x\ny\n=1 ada\nz\n")

        assert ["=1 ada", "x", "y", "z"] == noted.wait_for(4)


@pytest.mark.engines("pure", "native", "uvloop", "attached")
def test_what_came_before_the_request_may_answer_it_where_order_is_all(serve, engine, noted):
    """A peer that knows what it will be asked may send all its replies at once, whatever was cut ahead."""

    @penstock.on_connection(codec="lines")
    async def handler(conn):
        noted.say((await conn.receive()).decode())
        noted.say((await conn.request(b"your name?")).decode())
        block = await conn.receive_exactly(3)
        noted.say(block.decode())
        noted.say((await conn.request(b"your age?")).decode())
        noted.say((await conn.receive()).decode())

    with serve(handler) as server, server.dial() as peer:
        peer.sendall(b"hello\nada\nxyz36\nbye\n")

        assert ["hello", "ada", "xyz", "36", "bye"] == noted.wait_for(5)
        assert b"your name?\nyour age?\n" == read_to_end(peer)


@WITH_CONN
def test_a_reply_that_comes_too_late_is_dropped(serve, form, noted):
    """Whoever waited is told in time; the handler is not given it, and what follows is not mistaken for it."""
    clock = ManualClock()
    with serve(asks(noted, timeout_s=8.0), clock=clock) as server, server.dial() as peer:
        peer.sendall(b"go\n")
        assert b"?1 who\n" == read_exactly(peer, 7)
        server.call(lambda: clock.advance(8.0))
        assert ["TimedOutError"] == noted.wait_for(1)
        peer.sendall(b"ada\nnext\n")

        assert b"NEXT\n" == read_exactly(peer, 5)


@WITH_CONN
@pytest.mark.parametrize("end", ["eof", "drain", "close", "abort", "bad frame"])
def test_who_waits_is_told_when_no_reply_can_come(serve, form, noted, end):
    """By the peer's EOF, a drain, or an end of any kind; whoever asks, a task of the connection's own or not."""
    conns = []

    def react(conn, message):
        conns.append(conn)
        return message

    with serve(react, codec="lines:max=50") as server, server.dial() as peer:
        peer.sendall(b"hello\n")
        assert b"hello\n" == read_exactly(peer, 6)
        asking = threading.Thread(target=lambda: server.wait(ask(conns[0], noted, b"who?")))
        asking.start()
        assert b"who?\n" == read_exactly(peer, 5)
        if end == "eof":
            peer.shutdown(socket.SHUT_WR)
        elif end == "drain":
            server.call(server.server.begin_drain)
            assert b"" == read_to_end(peer)  # then it does not linger
        elif end == "bad frame":
            peer.sendall(b"x" * 100)
        else:
            server.call(getattr(conns[0], end))
        asking.join(20)

        assert ["EndOfStreamError" if end in ("eof", "drain") else "RequestLostError"] == noted.words


@WITH_CONN
def test_an_id_that_is_in_use_is_refused(serve, form, noted):
    """Nothing is sent, and the first request goes on."""

    def react(conn, message):
        if message == b"go":
            conn.task(ask(conn, noted, b"?1 who"))
            conn.task(ask(conn, noted, b"?1 what"))
            conn.task(ask(conn, noted, b"no id"))
            return None
        return message

    with serve(react, codec=Numbered()) as server, server.dial() as peer:
        peer.sendall(b"go\n")
        assert ["LocalProtocolError", "LocalProtocolError"] == noted.wait_for(2)
        peer.sendall(b"=1 ada\nend\n")

        assert b"?1 who\nend\n" == read_exactly(peer, 11)
        assert "=1 ada" == noted.wait_for(3)[2]


@WITH_CONN
def test_another_codec_may_follow_a_reply(serve, form, noted):
    """What is owed under one codec is not looked for with another; once nothing is, the new one cuts the replies."""

    async def work(conn):
        noted.say((await conn.request(b"?1 netstrings")).decode())
        conn.set_codec(parse_codec("netstring"))
        noted.say((await conn.request(b"?2 who")).decode())

    def react(conn, message):
        if message == b"go":
            conn.task(work(conn))
            return None
        return message

    with serve(react) as server, server.dial() as peer:
        peer.sendall(b"go\n")
        assert b"?1 netstrings\n" == read_exactly(peer, 14)
        peer.sendall(b"yes\n")
        assert b"6:?2 who," == read_exactly(peer, 9)
        peer.sendall(b"3:ada,4:next,")

        assert b"4:next," == read_exactly(peer, 7)
        assert ["yes", "ada"] == noted.wait_for(2)


@WITH_CONN
def test_a_peer_that_never_replies_is_asked_so_often_and_no_more(serve, form, noted):
    """What is owed is bounded, though nobody waits for it."""
    clock = ManualClock()
    conns = []

    def react(conn, message):
        conns.append(conn)
        conn.task(ask(conn, noted, b"two\nlines"))
        for number in range(MAX_OWED):
            conn.task(ask(conn, noted, b"%d" % number, 1.0))

    with serve(react, clock=clock) as server, server.dial() as peer:
        peer.sendall(b"go\n")
        read_exactly(peer, sum(len(b"%d\n" % number) for number in range(MAX_OWED)))
        assert ["LocalProtocolError"] == noted.words
        server.call(lambda: clock.advance(1.0))
        assert {"TimedOutError"} == set(noted.wait_for(1 + MAX_OWED)[1:])
        server.wait(ask(conns[0], noted, b"one more"))

        assert "QueueFullError" == noted.words[-1]


@WITH_CONN
def test_a_codec_whose_messages_end_by_silence_is_refused(serve, form, noted):
    """Silence tells no reply apart from the rest of a message, so nothing is sent."""

    async def ask_beside(conn):
        await asyncio.sleep(0)  # an eager task would run while no one receives
        await ask(conn, noted, b"who")

    def react(conn, message):
        if message == b"go":
            conn.task(ask_beside(conn))
            return None
        return message.upper()

    with serve(react, codec="lines:quiet=1h") as server, server.dial() as peer:
        peer.sendall(b"go\n")
        assert ["LocalProtocolError"] == noted.wait_for(1)
        peer.sendall(b"next\n")

        assert b"NEXT\n" == read_exactly(peer, 5)


@pytest.mark.engines("pure", "native", "uvloop", "attached")
def test_a_conversation_asks_under_silence_by_sending_and_receiving(serve, engine, noted):
    """The next message is the reply, for nobody else receives."""

    @penstock.on_connection(codec="lines:quiet=1h")
    async def handler(conn):
        await ask(conn, noted, b"who")
        noted.say((await conn.receive()).decode())

    with serve(handler) as server, server.dial() as peer:
        assert b"who\n" == read_exactly(peer, 4)
        peer.sendall(b"ada\nnext\n")

        assert ["ada", "next"] == noted.wait_for(2)


@pytest.mark.engines("pure", "native", "uvloop", "attached")
def test_the_peer_of_a_conversation_that_asks_is_held_to_its_idle_timeout(serve, engine):
    """It is waited for, as by receive: a peer that never replies is closed for its silence."""
    clock = ManualClock()
    lost = []

    @penstock.on_connection(codec="lines")
    async def handler(conn):
        try:
            await conn.request(b"who?")
        except errors.RequestLostError as error:
            lost.append(error.reason.value)
            raise

    with serve(handler, clock=clock, timeouts=penstock.Timeouts(idle_s=8.0, first_message_s=None)) as server:
        with server.dial() as peer:
            assert b"who?\n" == read_exactly(peer, 5)
            server.call(lambda: clock.advance(8.0))

            assert b"" == read_to_end(peer)
        assert ["idle_timeout"] == server.reasons(1)
    assert ["idle_timeout"] == lost


def test_a_datagram_has_no_reply(serve, engine, noted):
    """What its sender answers is a datagram like any other."""

    @penstock.on_message(codec="raw")
    def handler(conn, message):
        conn.task(ask(conn, noted, b"who"))

    with serve(handler, bind="udp://127.0.0.1:0") as server, server.dial() as peer:
        peer.send(b"hello")

        assert ["LocalProtocolError"] == noted.wait_for(1)
