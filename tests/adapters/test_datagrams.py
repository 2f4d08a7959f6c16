"""Datagram protocols of asyncio are served unchanged."""

import asyncio
import errno
import functools

import pytest

from penstock.errors import ConfigurationError
from penstock.testing.engines import LOOPS

pytestmark = [
    pytest.mark.engines(*LOOPS),
    pytest.mark.uncipherable("datagrams are not ciphered"),
]


class EchoServerProtocol(asyncio.DatagramProtocol):
    """As in the documentation of asyncio."""

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        self.transport.sendto(data, addr)


class Noted(EchoServerProtocol):
    """Keeps what it is told."""

    def __init__(self, notes):
        self.notes = notes

    def error_received(self, exc):
        self.notes.append(exc)

    def connection_lost(self, exc):
        self.notes.append(exc)


def test_the_echo_protocol_of_the_documentation_answers(serve, engine):
    """One protocol hears all senders."""
    with serve(EchoServerProtocol, bind="udp://127.0.0.1:0") as server, server.dial() as peer, server.dial() as other:
        peer.send(b"hello")
        other.send(b"there")

        assert [b"hello", b"there"] == [peer.recv(100), other.recv(100)]


def test_a_protocol_may_answer_later(serve, engine):
    """Also one who has sent before somebody else; its end is told once, when the server has stopped."""
    notes = []

    class Late(Noted):
        first = None

        def datagram_received(self, data, addr):
            if self.first is None:
                self.first = addr
            else:
                self.transport.sendto(b"second: " + data, self.first)

    with (
        serve(functools.partial(Late, notes), bind="udp://127.0.0.1:0") as server,
        server.dial() as peer,
        server.dial() as other,
    ):
        peer.send(b"one")
        server.wait_until(lambda server: server.stats.datagrams == 1)
        other.send(b"two")
        assert b"second: two" == peer.recv(100)
        assert [] == notes

    assert [None] == notes


def test_what_cannot_be_sent_is_told(serve, engine):
    """A stranger's address, and a datagram that is too long."""
    notes = []

    class Tries(Noted):
        def datagram_received(self, data, addr):
            self.notes.append(self.transport.get_extra_info("sockname"))
            self.transport.sendto(data, ("127.0.0.1", 9))
            self.transport.sendto(bytes(70_000), addr)
            with pytest.raises(ValueError, match="needs an address"):
                self.transport.sendto(data)
            with pytest.raises(TypeError, match="bytes-like"):
                self.transport.sendto("text", addr)
            self.transport.sendto(b"ok", addr)
            self.transport.close()
            self.transport.sendto(b"closed", addr)

    with serve(functools.partial(Tries, notes), bind="udp://127.0.0.1:0") as server, server.dial() as peer:
        port = server.port
        peer.send(b"x")
        assert b"ok" == peer.recv(100)
        server.wait_until(lambda _: notes[-1] is None)

    told = [note.errno if isinstance(note, OSError) else note for note in notes]
    assert [("127.0.0.1", port), errno.EDESTADDRREQ, errno.EMSGSIZE, None] == told


def test_another_protocol_takes_over(serve, engine):
    """The transport tells it from then on, of its end as well."""
    notes = []

    class First(EchoServerProtocol):
        def datagram_received(self, data, addr):
            second = Noted(notes)
            second.connection_made(self.transport)
            self.transport.set_protocol(second)
            notes.extend([self.transport.get_protocol() is second, self.transport.get_write_buffer_size()])

    with serve(First, bind="udp://127.0.0.1:0") as server, server.dial() as peer:
        peer.send(b"one")
        server.wait_until(lambda _: len(notes) == 2)
        peer.send(b"two")
        assert b"two" == peer.recv(100)

    assert [True, 0, None] == notes


def test_a_datagram_protocol_on_a_stream_is_refused(serve, engine):
    """It would never be told of a connection."""
    with (
        pytest.raises(ConfigurationError, match=r"EchoServerProtocol handles datagrams, and tcp:.* has connections"),
        serve(EchoServerProtocol),
    ):
        pass


def test_a_stream_protocol_on_datagrams_is_refused(serve, engine):
    """It needs connections."""
    with (
        pytest.raises(ConfigurationError, match=r"Protocol needs connections, and udp:.* has none"),
        serve(asyncio.Protocol, bind="udp://127.0.0.1:0"),
    ):
        pass


def test_a_datagram_that_is_empty_is_one(serve, engine):
    """As UDP has it."""
    with serve(EchoServerProtocol, bind="udp://127.0.0.1:0") as server, server.dial() as peer:
        peer.send(b"")

        assert b"" == peer.recv(100)
