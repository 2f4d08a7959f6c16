"""Framing by silence: a codec says how long nothing has to come for what is there to be a message; engines tell it.

The server's clock stands still and is moved on the server's own thread. All times are sums of powers of two.
"""

import asyncio
import socket
import threading
import time

import pytest

import penstock
from penstock.codecs import Codec, Delimited, Gap, Lines
from penstock.codecs.base import NEED_DATA
from penstock.config import Limits, Timeouts
from penstock.testing.clock import ManualClock
from penstock.testing.engines import LOOPS
from penstock.testing.peers import PATIENCE_S, read_exactly, read_to_end
from penstock.units import Rate

QUIET = 0.5
TICK = 0.125
NONE = Timeouts(
    first_message_s=None, idle_s=None, message_s=None, write_s=None, lifetime_s=None, drain_s=10.0, linger_s=None
)
LINES = "lines:quiet=500ms"


class HeldClock(ManualClock):
    """A clock whose timers may come late."""

    def hold(self, seconds):
        """Time passes in which nothing is done; the next `advance` calls what fell due."""
        self._now += seconds


@pytest.fixture
def clock():
    return HeldClock()


def waits(conn):
    """Whether a thread that serves a connection has seen all that came, and waits for its peer."""
    return getattr(conn, "_receiving", True) and not getattr(conn, "_news", False)


class Talk:
    """A server that answers each message with itself in brackets, and one peer of it."""

    def __init__(self, server, clock, peer):
        self.server = server
        self.clock = clock
        self.peer = peer
        self.sent_bytes = 0

    def connection(self):
        (connection,) = self.server.server.connections
        return connection

    def say(self, data):
        """Send, and see it read."""
        self.sent_bytes += len(data)
        self.peer.sendall(data)
        self._spin(lambda: self.connection().bytes_in == self.sent_bytes)
        self.settle()

    def settle(self):
        """Let the server do what there is to be done, and wait again."""
        for _ in range(20):
            self.server.call(lambda: None)
        self._spin(lambda: all(waits(conn) for conn in self.server.server.connections))

    def advance(self, seconds):
        self.server.call(lambda: self.clock.advance(seconds))
        self.settle()

    def call(self, what):
        result = self.server.call(what)
        self.settle()
        return result

    def heard(self):
        """What the server has answered by now."""
        self.settle()
        self.peer.setblocking(False)
        try:
            return self.peer.recv(65536)
        except BlockingIOError:
            return b""
        finally:
            self.peer.setblocking(True)

    def hear(self, data):
        """Hear exactly this, and nothing more."""
        assert data == read_exactly(self.peer, len(data))
        assert b"" == self.heard()

    def _spin(self, fact):
        until = time.monotonic() + PATIENCE_S
        while not self.server.call(fact):
            assert time.monotonic() < until


def answer(_conn, message):
    return b"[%s]" % message


@pytest.fixture
def talk(serve, clock):
    """``with talk(codec) as it``: a server on this codec, and one peer of it that has not said anything."""

    class Talking:
        def __init__(self, codec=LINES, *, react=answer, **options):
            options = {"timeouts": NONE, **options}
            self.serving = serve(react, codec=codec, clock=clock, **options)

        def __enter__(self):
            server = self.serving.__enter__()
            self.peer = server.dial()
            server.wait_connections(1)
            it = Talk(server, clock, self.peer)
            it.settle()
            return it

        def __exit__(self, *error):
            self.peer.close()
            return self.serving.__exit__(*error)

    return Talking


def test_a_rest_is_a_message_once_nothing_has_come_for_quiet_s(talk, form):
    """Not a tick before; and so is the next one, on the same connection."""
    with talk() as it:
        for word in (b"hello", b"am 1", b"am 2"):
            it.say(word)
            it.advance(QUIET - TICK)
            assert b"" == it.heard()
            it.advance(TICK)
            it.hear(b"[%s]\n" % word)
            it.advance(100.0)
            assert b"" == it.heard()


def test_every_byte_begins_the_silence_anew(talk, form):
    """Where the network cuts a message, and pauses for less, changes nothing."""
    with talk() as it:
        for byte in (b"h", b"e", b"l", b"l", b"o"):
            it.say(byte)
            it.advance(QUIET - TICK)
        assert b"" == it.heard()
        it.advance(TICK)

        it.hear(b"[hello]\n")


def test_a_peer_that_has_ended_a_line_is_taken_at_its_word(talk, form):
    """From then on only line ends count; not on the next connection."""
    with talk() as it:
        it.say(b"hello")
        it.advance(QUIET)
        it.hear(b"[hello]\n")
        it.say(b"one\ntw")
        it.hear(b"[one]\n")
        it.advance(100.0)
        assert b"" == it.heard()
        it.say(b"o\r\nthree")
        it.hear(b"[two]\n")
        it.advance(100.0)
        assert b"" == it.heard()
        it.peer.shutdown(socket.SHUT_WR)
        assert b"" == read_to_end(it.peer)  # and so at its end
        it.peer.close()
        assert ["truncated"] == it.server.reasons(1)


@pytest.mark.parametrize("late", [b"\n", b"\r\n"])
def test_a_line_end_that_comes_after_its_line_was_cut_off_begins_no_empty_line(talk, form, late):
    """It is swallowed, and counts as the peer's word; an empty line after it is one."""
    with talk() as it:
        it.say(b"hello")
        it.advance(QUIET)
        it.hear(b"[hello]\n")
        it.say(late + b"two\n\n")
        it.hear(b"[two]\n[]\n")
        it.say(b"rest")
        it.advance(100.0)

        assert b"" == it.heard()


def test_a_cr_lf_that_was_cut_apart_is_one_line_end(talk, form):
    """The CR is no part of the message, the LF after it no message."""
    with talk() as it:
        it.say(b"hello\r")
        it.advance(QUIET)
        it.hear(b"[hello]\n")
        it.say(b"\n")
        it.advance(100.0)
        assert b"" == it.heard()
        it.say(b"\n")

        it.hear(b"[]\n")


@pytest.mark.forms(lambda form: form.label != "def-connection")
@pytest.mark.engines(*LOOPS)
def test_what_lies_in_the_kernel_by_then_is_read_first(talk, form):
    """The message goes on; the silence after its last byte counts. A thread reads whenever it comes."""
    with talk() as it:
        it.say(b"hel")

        def both():
            it.peer.sendall(b"lo")
            it.clock.advance(QUIET)

        it.server.call(both)
        it.sent_bytes += 2
        it.settle()
        assert b"" == it.heard()
        it.advance(QUIET - TICK)
        assert b"" == it.heard()
        it.advance(TICK)

        it.hear(b"[hello]\n")


def test_the_clock_stands_still_while_the_peer_is_not_read(talk, form):
    """What is left of the silence comes after the pause."""
    with talk() as it:
        it.say(b"hello")
        it.advance(QUIET / 2)
        it.call(lambda: it.connection().suspend_reading())
        it.advance(100.0)
        assert b"" == it.heard()
        it.call(lambda: it.connection().unsuspend_reading())
        it.advance(QUIET / 2 - TICK)
        assert b"" == it.heard()
        it.advance(TICK)

        it.hear(b"[hello]\n")


def test_the_clock_stands_still_while_the_loop_is_held(talk, form):
    """The silence is as much longer as its end came late: once, or a loop that is always late would never end one."""
    with talk() as it:
        it.say(b"hello")
        for seconds in (QUIET + 0.25, 0.25 - TICK):
            it.clock.hold(seconds)
            it.advance(0.0)
            assert b"" == it.heard()
        it.clock.hold(100.0)
        it.advance(0.0)

        it.hear(b"[hello]\n")


def test_the_peers_eof_is_a_silence(talk, form):
    """Nothing more will come: what is there is a message at once."""
    with talk() as it:
        it.say(b"hello")
        it.peer.shutdown(socket.SHUT_WR)

        assert b"[hello]\n" == read_to_end(it.peer)


def test_a_message_that_is_ended_by_silence_holds_no_deadline_against_its_peer(talk, form):
    """It was complete in time, and so was the first one."""
    with talk(timeouts=NONE.merged(first_message_s=8.0, message_s=8.0, idle_s=64.0)) as it:
        for _ in range(5):
            it.say(b"hello")
            it.advance(2.0)
            it.hear(b"[hello]\n")


def test_a_message_whose_bytes_trickle_is_late_as_ever(talk, form):
    """A byte within each silence wins nothing."""
    with talk(timeouts=NONE.merged(message_s=2.0)) as it:
        it.say(b"ping")
        it.advance(QUIET)
        it.hear(b"[ping]\n")
        for _ in range(4):
            it.say(b"x")
            it.advance(0.25)
        for _ in range(3):
            it.say(b"x")
            it.advance(0.25)
        it.say(b"x")
        it.server.call(lambda: it.clock.advance(0.25))

        assert b"" == read_to_end(it.peer)
        it.peer.close()
        assert ["message_timeout"] == it.server.reasons(1)


def test_a_rest_over_the_limit_is_refused(talk, form):
    """As ever: nobody waits for its silence."""
    with talk("lines:quiet=500ms,max=8") as it:
        it.peer.sendall(b"x" * 9)

        assert b"" == read_to_end(it.peer)
        it.peer.close()
        assert ["frame_too_large"] == it.server.reasons(1)


def test_a_gap_ends_every_message(talk, form):
    """Whatever is in it, and however many there were."""
    with talk(Gap(quiet_s=QUIET)) as it:
        for message in (b"\x01\x03\x00\x00", b"a\nb\r\n", b"a", b"b"):
            it.say(message)
            it.advance(QUIET - TICK)
            assert b"" == it.heard()
            it.advance(TICK)
            it.hear(b"[%s]" % message)


def test_a_delimiter_that_was_cut_apart_ends_one_message(talk, form):
    """What may be its beginning is held back; it is data if something else follows."""
    with talk(Delimited(b"\r\n", quiet_s=QUIET)) as it:
        it.say(b"one\r")
        it.advance(QUIET)
        it.hear(b"[one]\r\n")
        it.say(b"two")
        it.advance(QUIET)
        it.hear(b"[\rtwo]\r\n")
        it.say(b"three\r")
        it.advance(QUIET)
        it.hear(b"[three]\r\n")
        it.say(b"\nfour\r\n")

        it.hear(b"[four]\r\n")


@pytest.mark.forms(lambda form: form.has_conn and not form.in_threads)
def test_silence_counts_from_the_message_on_at_which_the_codec_is_changed(talk, form):
    """To one with silence, and back to one without."""

    def react(conn, message):
        if message == b"gap":
            conn.set_codec(Gap(quiet_s=QUIET))
        elif message == b"lines":
            conn.set_codec(Lines())
        return None if message in (b"gap", b"lines") else b"<%s>" % message

    with talk("lines", react=react) as it:
        it.say(b"half")
        it.advance(100.0)
        assert b"" == it.heard()
        it.say(b"\ngap\nrest")
        it.hear(b"<half>\n")
        it.advance(QUIET - TICK)
        assert b"" == it.heard()
        it.advance(TICK)
        it.hear(b"<rest>")
        it.say(b"lines")
        it.advance(QUIET)
        it.say(b"half")
        it.advance(100.0)
        assert b"" == it.heard()
        it.say(b"\n")

        it.hear(b"<half>\n")


@pytest.mark.forms(lambda form: form.has_conn and not form.in_threads)
def test_silence_counts_anew_where_its_peer_had_ended_lines(talk, form):
    """A change of the codec, be it to the same one: what was there of the next line is the first that silence ends."""
    lines = Lines(quiet_s=QUIET)

    def react(conn, message):
        if message == b"again":
            conn.set_codec(lines)
            return None
        return answer(conn, message)

    with talk(lines, react=react) as it:
        it.say(b"one\ntwo\nag")
        it.hear(b"[one]\n[two]\n")
        it.advance(100.0)
        it.say(b"ain\nrest")
        it.advance(QUIET - TICK)
        assert b"" == it.heard()
        it.advance(TICK)
        it.hear(b"[rest]\n")
        it.say(b"\nthree\nfour")
        it.hear(b"[three]\n")
        it.advance(100.0)

        assert b"" == it.heard()


@pytest.mark.forms(lambda form: form.label.startswith("async-"))
def test_silence_passes_while_a_handler_is_at_work(serve, form, clock):
    """What came apart stays apart, though nobody waited for it."""
    heard = []
    opened = {}

    async def converse(conn):
        async for message in conn:
            heard.append(message)
            await opened["gate"].wait()

    async def handle(_conn, message):
        heard.append(message)
        await opened["gate"].wait()

    made = (
        penstock.on_connection(codec=LINES)(converse)
        if form.is_conversation
        else penstock.on_message(codec=LINES)(handle)
    )
    with serve(made, clock=clock, timeouts=NONE) as server, server.dial() as peer:
        server.wait_connections(1)

        server.call(lambda: opened.setdefault("gate", asyncio.Event()))
        it = Talk(server, clock, peer)
        for word in (b"one", b"two", b"th", b"ree"):
            it.say(word)
            it.advance(QUIET if word != b"th" else TICK)
        assert [b"one"] == heard
        server.call(opened["gate"].set)
        it.settle()

        assert [b"one", b"two", b"three"] == heard


class Shouted(Codec):
    """A message up to an exclamation mark, or to a silence: for it silence counts for ever."""

    name = "shouted"
    quiet_s = QUIET

    def decode(self, buffer):
        end = buffer.find(b"!")
        if end < 0:
            return NEED_DATA
        message = bytes(buffer[: end + 1])
        del buffer[: end + 1]
        return message

    def decode_quiet(self, buffer):
        return bytes(buffer) + b"?"

    def encode(self, message):
        return message


def test_a_codec_of_ones_own_may_frame_by_silence(talk, form):
    """`quiet_s` and `decode_quiet` are all it takes; silence counts until its `decode` says that it does not."""
    with talk(Shouted()) as it:
        it.say(b"hey!you")
        it.hear(b"[hey!]")
        it.advance(QUIET - TICK)
        assert b"" == it.heard()
        it.advance(TICK)
        it.hear(b"[you?]")


def test_as_many_bytes_as_before_a_message_are_others(talk, form):
    """What is left behind a message has a silence of its own, which the bytes before it began no sooner."""
    with talk(Shouted()) as it:
        it.say(b"b")
        it.advance(QUIET - TICK)
        it.say(b"x!c")
        it.hear(b"[bx!]")
        it.advance(QUIET - TICK)
        assert b"" == it.heard()
        it.advance(TICK)
        it.hear(b"[c?]")


@pytest.mark.forms(lambda form: form.label.startswith("async-") or form.in_threads or form.label == "def-message-conn")
def test_what_is_left_behind_a_message_falls_silent_while_its_handler_is_at_work(serve, engine, form, clock):
    """The silence counts from when it came, not from when the handler waits again."""
    if form.label == "def-message-conn" and engine.name != "blocking":
        pytest.skip("its handler has the loop")
    heard, begun, released, opened = [], threading.Event(), threading.Event(), {}

    def hold(_conn, message):
        heard.append(message)
        begun.set()
        assert released.wait(PATIENCE_S)

    async def hold_async(_conn, message):
        heard.append(message)
        opened.setdefault("gate", asyncio.Event())
        begun.set()
        await opened["gate"].wait()

    async def converse(conn):
        async for message in conn:
            await hold_async(conn, message)

    made = form.make(hold, Shouted())
    if form.label.startswith("async-"):
        made = (
            penstock.on_connection(codec=Shouted())(converse)
            if form.is_conversation
            else penstock.on_message(codec=Shouted())(hold_async)
        )
    with serve(made, model=form.model, clock=clock, timeouts=NONE) as server, server.dial() as peer:
        peer.sendall(b"a!b")
        assert begun.wait(PATIENCE_S)
        (conn,) = server.server.connections
        server.call(lambda: clock.advance(QUIET))
        for _ in range(20):
            server.call(lambda: None)
        peer.sendall(b"c!")
        if engine.name != "blocking":
            while not server.call(lambda: conn.bytes_in == 5):
                pass
        released.set()
        if opened:
            server.call(opened["gate"].set)
        peer.shutdown(socket.SHUT_WR)
        server.reasons(1)

    assert [b"a!", b"b?", b"c!"] == heard


@pytest.mark.forms(lambda form: form.label in ("def-message", "async-message"))
def test_records_and_datagrams_end_by_themselves(serve, form, clock, tmp_path):
    """At once, whatever comes after them."""
    for bind in (f"unix+seqpacket://{tmp_path}/s", "udp://127.0.0.1:0"):
        with (
            serve(answer, codec=Gap(quiet_s=QUIET), clock=clock, timeouts=NONE, bind=bind) as server,
            server.dial() as peer,
        ):
            for message in (b"one", b"two\n"):
                peer.send(message)
                assert b"[%s]" % message == peer.recv(100)


@pytest.mark.engines(*LOOPS)
@pytest.mark.forms(lambda form: form.label in ("def-message", "async-message"))
def test_messages_held_back_at_their_rate_keep_their_bounds(talk, form):
    """They were complete when they came; who sends too fast is read later."""
    with talk(Gap(quiet_s=QUIET), limits=Limits(max_message_rate=Rate(1, 8.0))) as it:
        it.say(b"one")
        it.advance(QUIET)
        it.hear(b"[one]")
        it.say(b"two")
        it.advance(QUIET)
        assert b"" == it.heard()
        it.advance(16.0)
        it.advance(QUIET)  # what is not read meanwhile is not silent either

        it.hear(b"[two]")
