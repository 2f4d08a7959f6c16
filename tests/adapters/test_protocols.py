"""Protocols of asyncio are served unchanged, with the contract of their transport."""

import asyncio
import contextlib
import functools
import gc
import os
import socket
import ssl
import weakref

import pytest

from penstock.adapters import service_of
from penstock.config import Timeouts
from penstock.errors import ApplicationError
from penstock.testing.certificates import authority, server_certificate
from penstock.testing.engines import LOOPS
from penstock.testing.peers import read_exactly, read_to_end, reset

pytestmark = pytest.mark.engines(*LOOPS)


class EchoServerProtocol(asyncio.Protocol):
    """As in the documentation of asyncio."""

    def connection_made(self, transport):
        self.peername = transport.get_extra_info("peername")
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)
        self.transport.close()


class Noted(asyncio.Protocol):
    """Keeps what it is told."""

    def __init__(self, notes):
        self.notes = notes

    def connection_made(self, transport):
        self.transport = transport
        self.notes.append("made")

    def data_received(self, data):
        self.notes.append(data)

    def eof_received(self):
        self.notes.append("eof")

    def pause_writing(self):
        self.notes.append("pause")

    def resume_writing(self):
        self.notes.append("resume")

    def connection_lost(self, exc):
        self.notes.append(exc)


def noted(notes, **methods):
    """A factory of protocols that keep what they are told, and do what these methods say."""
    return functools.partial(type("Changed", (Noted,), methods), notes)


@pytest.mark.ciphered
def test_the_echo_protocol_of_the_documentation_answers(serve, engine):
    """It closes after its answer, which arrives."""
    with serve(EchoServerProtocol) as server, server.dial() as peer:
        peer.sendall(b"Hello World!")

        assert b"Hello World!" == read_to_end(peer)


def test_a_protocol_is_told_of_everything_in_order(serve, engine):
    """The default of `eof_received` closes; a connection that closed has no error."""
    notes = []

    def answer(self, data):
        self.notes.append(data)
        self.transport.write(b"got it")

    with serve(noted(notes, data_received=answer)) as server, server.dial() as peer:
        peer.sendall(b"one")
        assert b"got it" == read_exactly(peer, 6)
        peer.shutdown(socket.SHUT_WR)
        assert b"" == read_to_end(peer)
        server.wait_closed(1)

    assert ["made", b"one", "eof", None] == notes


def test_a_protocol_may_go_on_after_the_peers_eof(serve, engine):
    """One that returns true from `eof_received` closes itself; `write_eof` ends only its own direction."""

    def stays(self):
        asyncio.get_running_loop().call_soon(self.late)
        return True

    def late(self):
        self.transport.write(b"late")
        self.transport.write_eof()
        with pytest.raises(RuntimeError, match="after write_eof"):
            self.transport.write(b"more")
        self.transport.close()

    with serve(noted([], eof_received=stays, late=late)) as server, server.dial() as peer:
        peer.shutdown(socket.SHUT_WR)

        assert b"late" == read_to_end(peer)


def test_a_peer_that_resets_is_a_connection_error(serve, engine):
    """As asyncio tells it."""
    notes = []
    with serve(noted(notes)) as server:
        peer = server.dial()
        server.wait_connections(1)
        server.wait_until(lambda _: notes)
        reset(peer)
        assert ["reset"] == list(server.reasons(1))

    assert ["made", True] == [notes[0], isinstance(notes[1], ConnectionResetError)]


def test_abort_drops_what_was_written_and_resets(serve, engine):
    """The protocol is told of no error: it wanted this."""
    notes = []

    def abort(self, data):
        self.transport.abort()
        self.transport.write(b"lost")
        self.notes.append(self.transport.is_closing())

    with serve(noted(notes, data_received=abort)) as server, server.dial() as peer:
        peer.sendall(b"x")
        with pytest.raises(ConnectionResetError):
            peer.recv(10)
        assert ["aborted"] == list(server.reasons(1))

    assert ["made", True, None] == notes


def test_reading_that_is_paused_brings_nothing_until_it_is_resumed(serve, engine):
    """Also what came in between; a connection that closes while it is paused ends."""
    notes, made = [], []

    def first(self, data):
        made.append(self.transport)
        self.notes.append((data, self.transport.is_reading()))
        self.transport.pause_reading()
        self.transport.write(b"paused")

    with serve(noted(notes, data_received=first)) as server, server.dial() as peer:
        for sent in (b"one", b"two"):
            peer.sendall(sent)
            assert b"paused" == read_exactly(peer, 6)
            peer.sendall(b"after " + sent)
            server.wait_until(lambda _, sent=sent: server.server.connections)
            assert not made[0].is_reading()
            server.call(made[0].resume_reading)
            assert b"paused" == read_exactly(peer, 6)
            server.call(made[0].resume_reading)
        peer.sendall(b"end")
        assert b"paused" == read_exactly(peer, 6)
        server.call(made[0].close)
        assert b"" == read_to_end(peer)

    told = [note[0] for note in notes if isinstance(note, tuple)]
    assert [b"one", b"after one", b"two", b"after two", b"end"] == told


def test_a_protocol_is_told_when_its_peer_does_not_read(serve, engine):
    """Above the high watermark it is to pause, at the low one to resume; all that was written arrives."""
    notes, size = [], 8 * 1024 * 1024

    def flood(self, data):
        before = self.transport.get_write_buffer_limits()
        self.transport.set_write_buffer_limits(high=4000, low=1000)
        self.notes.append((before, self.transport.get_write_buffer_limits()))
        self.transport.write(bytes(size))

    def resumed(self):
        self.notes.append(("resume", self.transport.get_write_buffer_size() <= 1000))
        self.transport.close()

    with serve(noted(notes, data_received=flood, resume_writing=resumed)) as server, server.dial() as peer:
        peer.sendall(b"x")
        server.wait_until(lambda _: "pause" in notes)
        assert size == len(read_to_end(peer))
        server.wait_closed(1)

    assert ["made", ((16384, 65536), (1000, 4000)), "pause", ("resume", True), None] == notes


def test_marks_that_are_lowered_under_what_waits_pause_at_once(serve, engine):
    """As asyncio has it: the protocol is not told by its next write alone."""
    notes, size = [], 8 * 1024 * 1024

    def flood(self, data):
        self.transport.set_write_buffer_limits(high=size)
        self.transport.write(bytes(size - 1))
        self.notes.append(self.transport.get_write_buffer_size() > 1000)
        self.transport.set_write_buffer_limits(high=1000)
        self.notes.append("set")
        self.transport.close()

    with serve(noted(notes, data_received=flood), write_max=2 * size) as server:
        with server.dial(receive_buffer_bytes=65536) as peer:
            peer.sendall(b"x")
            server.wait_until(lambda _: "set" in notes)
            assert ["made", True, "pause", "set"] == notes[:4]
            assert size - 1 == len(read_to_end(peer))
        server.wait_closed(1)


@pytest.mark.parametrize("how", ["write_eof", "close"])
def test_a_protocol_is_told_to_resume_also_after_its_end(serve, engine, how):
    """As asyncio has it: what was written before still leaves, and whoever waits for that is told."""
    notes, size = [], 8 * 1024 * 1024

    def flood(self, data):
        self.transport.write(bytes(size))
        getattr(self.transport, how)()

    with serve(noted(notes, data_received=flood), write_max=2 * size) as server:
        with server.dial(receive_buffer_bytes=4096) as peer:
            peer.sendall(b"x")
            server.wait_until(lambda _: "pause" in notes)
            assert size == len(read_exactly(peer, size))
            server.wait_until(lambda _: "resume" in notes)
            assert b"" == read_to_end(peer)
        server.wait_closed(1)

    assert ["made", "pause", "resume"] + ["eof"] * (how == "write_eof") + [None] == notes


@pytest.mark.parametrize("how", ["close", "pause", "hand on"])
def test_a_buffered_protocol_is_filled_no_further_than_it_wants(serve, engine, how):
    """What is left of one read goes where asyncio's next read would go."""
    notes, made = [], []

    class Rest(asyncio.Protocol):
        def data_received(self, data):
            notes.append(data)
            made[0].close()

    class Buffered(asyncio.BufferedProtocol):
        def connection_made(self, transport):
            self.transport = transport
            self.buffer = bytearray(4)
            made.append(transport)

        def get_buffer(self, sizehint):
            return self.buffer

        def buffer_updated(self, nbytes):
            notes.append(bytes(self.buffer[:nbytes]))
            if how == "close":
                self.transport.close()
            elif how == "pause":
                self.transport.pause_reading()
                self.transport.write(b".")
            else:
                self.transport.set_protocol(Rest())

    with serve(Buffered) as server, server.dial() as peer:
        peer.sendall(b"abcdefghij")
        if how == "pause":
            for count in (1, 2, 3):
                assert b"." == read_exactly(peer, 1)
                assert count == len(notes)
                server.call(made[0].resume_reading)
            server.call(made[0].close)
        assert b"" == read_to_end(peer)
        server.wait_closed(1)

    wanted = {"close": [b"abcd"], "pause": [b"abcd", b"efgh", b"ij"], "hand on": [b"abcd", b"efghij"]}
    assert wanted[how] == notes


def test_a_buffered_protocol_gets_its_bytes_in_its_buffers(serve, engine):
    """However small they are."""

    class Buffered(asyncio.BufferedProtocol):
        def connection_made(self, transport):
            self.transport = transport
            self.buffer = bytearray(3)

        def get_buffer(self, sizehint):
            return self.buffer

        def buffer_updated(self, nbytes):
            self.transport.write(self.buffer[:nbytes].upper())

        def eof_received(self):
            return False

    with serve(Buffered) as server, server.dial() as peer:
        peer.sendall(b"hello world")
        peer.shutdown(socket.SHUT_WR)

        assert b"HELLO WORLD" == read_to_end(peer)


def test_another_protocol_takes_over(serve, engine):
    """From the next bytes to the end."""
    notes = []

    def switch(self, data):
        self.transport.set_protocol(second := Noted([]))
        second.notes = notes
        assert self.transport.get_protocol() is second
        self.transport.write(b"switched")

    with serve(noted([], data_received=switch)) as server, server.dial() as peer:
        peer.sendall(b"one")
        assert b"switched" == read_exactly(peer, 8)
        peer.sendall(b"two")
        server.wait_until(lambda _: notes)
        peer.shutdown(socket.SHUT_WR)
        read_to_end(peer)
        server.wait_closed(1)

    assert [b"two", "eof", None] == notes


def test_what_fails_in_a_protocol_ends_its_connection_alone(serve, engine):
    """It is told of its own error, and the log has it once."""
    notes = []

    def fail(self, data):
        raise ValueError(data.decode())

    with serve(noted(notes, data_received=fail), fails=1) as server, server.dial() as peer:
        peer.sendall(b"bad")
        assert b"" == read_to_end(peer)
        assert ["handler_error"] == list(server.reasons(1))

    assert ["made", "ValueError('bad')"] == [notes[0], repr(notes[1])]


def test_a_protocol_that_is_idle_ends_at_the_servers_deadline(serve, engine):
    """The timeouts of the server hold for it."""
    notes = []
    timeouts = Timeouts(drain_s=10.0, first_message_s=0.02)
    with serve(noted(notes), timeouts=timeouts) as server, server.dial() as peer:
        assert b"" == read_to_end(peer)
        assert ["first_message_timeout"] == list(server.reasons(1))

    assert "first_message_timeout" == str(notes[-1].reason)


def test_a_draining_server_is_the_end_of_the_stream(serve, engine):
    """A protocol may say its last word; then its connection closes."""
    notes = []

    def last_word(self):
        self.notes.append("eof")
        self.transport.write(b"bye")

    with serve(noted(notes, eof_received=last_word)) as server, server.dial() as peer:
        server.wait_until(lambda _: notes)
        server.wait(_begin_drain(server.server))
        assert b"bye" == read_to_end(peer)
        server.wait_closed(1)

    assert ["made", "eof", None] == notes


async def _begin_drain(server):
    server.begin_drain()


@pytest.mark.ciphered
def test_a_protocol_can_ask_about_its_connection(serve, engine):
    """By the names that asyncio has."""
    facts = []

    def ask(self, data):
        info = self.transport.get_extra_info
        sock = info("socket")
        facts.append((info("peername"), info("sockname")[1], sock.getsockname() == info("sockname")))
        facts.append((info("sslcontext") is not None, info("ssl_object") is not None, bool(info("cipher"))))
        facts.append((info("none", 7), self.transport.can_write_eof()))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(0)  # as it is, so asyncio's takes it
        sock.setblocking(False)
        for change in (sock.settimeout, sock.setblocking):
            with pytest.raises(ValueError, match="transport sockets"):
                change(1)
        with sock.dup() as other:
            facts.append((other.getpeername() == info("peername"), sock.gettimeout(), sock.get_inheritable()))
        self.transport.writelines([b"o", b"k"])
        with pytest.raises(TypeError, match="bytes-like"):
            self.transport.write("text")

    with serve(noted([], data_received=ask)) as server, server.dial() as peer:
        peer.sendall(b"x")
        assert b"ok" == read_exactly(peer, 2)
        name, port = peer.getsockname(), server.port

    assert [(name, port, True), (engine.ciphered,) * 3, (7, True), (True, 0, False)] == facts


def test_a_duplicate_of_its_socket_leaves_the_engines_as_it_is(serve, engine):
    """Whether a socket blocks is one fact of all its duplicates: one that blocked would hold the whole loop."""
    blocking = []

    def duplicate(self, data):
        sock = self.transport.get_extra_info("socket")
        with sock.dup() as other:
            blocking.extend([other.gettimeout(), os.get_blocking(other.fileno()), os.get_blocking(sock.fileno())])
        self.transport.write(b"ok")

    with serve(noted([], data_received=duplicate)) as server, server.dial() as peer:
        peer.sendall(b"x")
        assert b"ok" == read_exactly(peer, 2)

    assert [0, False, False] == blocking


@pytest.mark.parametrize("verb", ["close", "abort"])
def test_a_connection_ends_for_its_peer_while_a_duplicate_of_its_socket_is_open(serve, engine, verb):
    """By its closing, and by a reset, though the kernel has the socket until the duplicate is closed."""
    kept = []

    def end(self, data):
        kept.append(self.transport.get_extra_info("socket").dup())
        getattr(self.transport, verb)()

    with serve(noted([], data_received=end)) as server, server.dial() as peer:
        peer.settimeout(20)
        peer.sendall(b"x")
        try:
            with contextlib.suppress(ConnectionResetError):
                assert b"" == peer.recv(1)
        finally:
            kept.pop().close()
        server.wait_closed(1)


@pytest.mark.engines(*[label for label in LOOPS if label != "uvloop"])
@pytest.mark.uncipherable("it begins TLS itself")
def test_a_protocol_may_begin_tls_by_itself(serve, engine):
    """By the loop's `start_tls`, as STARTTLS has it. uvloop's takes no transport but its own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server_certificate())
    notes = []

    def begin(self, data):
        self.task = asyncio.get_running_loop().create_task(self.upgrade())

    async def upgrade(self):
        self.transport.write(b"go\n")
        secret = Noted(self.notes)
        secret.transport = await asyncio.get_running_loop().start_tls(self.transport, secret, context, server_side=True)
        secret.transport.write(b"secret")

    with serve(noted(notes, data_received=begin, upgrade=upgrade)) as server, server.dial() as plain:
        plain.sendall(b"STARTTLS\n")
        assert b"go\n" == read_exactly(plain, 3)
        with authority().client().wrap_socket(plain, server_hostname="localhost") as peer:
            assert b"secret" == read_exactly(peer, 6)
            peer.sendall(b"heard")
            server.wait_until(lambda _: b"heard" in notes)


def test_a_class_that_needs_arguments_is_refused():
    """With what to do about it."""
    with pytest.raises(ApplicationError, match=r"Noted is called without arguments .* fix them by functools\.partial"):
        service_of(Noted)


def test_a_protocol_of_subprocesses_is_refused():
    """It speaks to no peer."""
    with pytest.raises(ApplicationError, match="SubprocessProtocol is a protocol of neither streams nor datagrams"):
        service_of(asyncio.SubprocessProtocol)


def test_a_transport_writes_what_asyncios_writes(serve, engine):
    """Any object of bytes, by position or by name; nothing else, also once it is over, when bytes are dropped."""
    refused, made = [], []

    def write_all(self, transport):
        made.append(transport)
        for written in (b"one ", bytearray(b"two "), memoryview(b"three "), b""):
            transport.write(written)
        transport.write(data=b"four")
        refuses(transport)
        transport.close()

    def refuses(transport):
        for wrong in ("text", 5, None):
            with pytest.raises(TypeError, match="bytes-like") as caught:
                transport.write(wrong)
            refused.append(type(caught.value))

    with serve(noted([], connection_made=write_all)) as server, server.dial() as peer:
        sent = read_to_end(peer)
        server.wait_closed(1)
        server.wait_connections(0)
        server.call(lambda: made[0].write(b"nobody is there"))
        server.call(lambda: refuses(made[0]))

    assert b"one two three four" == sent
    assert [TypeError] * 6 == refused


@pytest.mark.ciphered
def test_a_transport_goes_with_its_connection(serve, engine):
    """Nothing of a connection that has ended waits for the collector of cycles."""
    kept, notes = [], []

    def answer(self, data):
        kept.append(weakref.ref(self.transport))
        self.transport.write(data)

    def lost(self, exc):
        self.transport = None
        self.notes.append("lost")

    with serve(noted(notes, data_received=answer, connection_lost=lost)) as server, without_collector():
        with server.dial() as peer:
            peer.sendall(b"x")
            assert b"x" == read_exactly(peer, 1)
        server.wait_until(lambda _: "lost" in notes)
        server.wait_connections(0)
        server.wait_until(lambda _: kept[0]() is None)


@contextlib.contextmanager
def without_collector():
    """Have cycles stay where they are."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def test_a_protocol_may_be_replaced_and_may_pause_within_what_it_is_told(serve, engine):
    """What was read after that goes to the new one, once it is to be read."""
    notes = []

    def replace(self, data):
        self.notes.append(("first", data))
        self.transport.pause_reading()
        self.transport.set_protocol(second)
        self.transport.write(b"1")

    def note(self, data):
        self.notes.append(("second", data))
        transports[0].write(b"2")

    def keep(self, transport):
        self.transport = transport
        transports.append(transport)

    transports = []
    second = noted(notes, data_received=note)()
    with serve(noted(notes, data_received=replace, connection_made=keep)) as server, server.dial() as peer:
        peer.sendall(b"one")
        assert b"1" == read_exactly(peer, 1)
        peer.sendall(b"two")
        server.call(transports[0].resume_reading)
        assert b"2" == read_exactly(peer, 1)
        peer.sendall(b"three")
        assert b"2" == read_exactly(peer, 1)

    assert [("first", b"one"), ("second", b"two"), ("second", b"three")] == [n for n in notes if isinstance(n, tuple)]


@pytest.mark.ciphered
def test_what_a_protocol_raises_ends_its_connection_alone(serve, engine):
    """It is told the error; what it wrote before still leaves."""
    notes = []

    def answer(self, data):
        self.transport.write(b"before")
        if data == b"bad":
            raise ZeroDivisionError("of the protocol")

    protocol = noted(notes, data_received=answer)
    with serve(protocol, fails=1) as server, server.dial() as good, server.dial() as peer:
        peer.sendall(b"bad")
        assert b"before" == read_to_end(peer)
        assert ["handler_error"] == list(server.reasons(1))
        good.sendall(b"good")
        assert b"before" == read_exactly(good, 6)

    assert [ZeroDivisionError] == [type(note) for note in notes if isinstance(note, ZeroDivisionError)]
