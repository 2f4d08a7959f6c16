"""The PROXY protocol on every engine: whose connection it is, whom the gate counts, and who is turned away."""

import asyncio
import functools
import socket
import struct

import pytest

import penstock
from penstock import ClientTls, SendProxy, SocketOptions
from penstock.core.events import EventName
from penstock.core.proxy import AUTHORITY, SIGNATURE, ProxyHeader, write_header
from penstock.errors import ConfigurationError
from penstock.testing.certificates import authority, server_certificate
from penstock.testing.ciphered import CipheredSocket
from penstock.testing.engines import ALL_ENGINES
from penstock.testing.peers import dial
from penstock.testing.served import served

engines = pytest.mark.parametrize("engine", ALL_ENGINES, ids=lambda engine: engine.label)
V1 = b"PROXY TCP4 203.0.113.7 192.0.2.1 51234 443\r\n"
V2 = SIGNATURE + struct.pack("!BBH4s4sHH", 0x21, 0x11, 12, bytes((203, 0, 113, 7)), bytes((192, 0, 2, 1)), 51234, 443)
LOCAL = SIGNATURE + b"\x20\x00\x00\x00"


def from_client(number):
    return f"PROXY TCP4 203.0.113.{number} 192.0.2.1 51234 443\r\n".encode()


@pytest.fixture
def serve_proxied(engine):
    """Serve behind proxies on an engine."""
    if engine.missing:
        pytest.skip(engine.missing)

    def start(target, *, bind="tcp://127.0.0.1:0", proxy_from="127.0.0.0/8", **options):
        options.setdefault("loop_factory", engine.loop_factory)
        return served(target, engine=engine.name, bind=bind, proxy_from=proxy_from, **options)

    return start


@pytest.fixture
def infos():
    return []


@pytest.fixture
def tells(infos):
    """A service that answers with its peer, and notes what it is told of the proxy."""

    @penstock.on_message(codec="lines")
    def tells(conn, message):
        infos.append((conn.proxy, conn.tls))
        return b"%s %s" % (message, str(conn.peer).encode())

    return tells


def answers(peer):
    return b"".join(iter(lambda: peer.recv(1 << 16), b"")).splitlines()


def refusals(server):
    return [(str(event.reason), event.peer.host) for event in server.record.of(EventName.REFUSED)]


@engines
@pytest.mark.parametrize("header", [V1, V2], ids=["v1", "v2"])
def test_the_peer_is_whom_the_proxy_speaks_for(serve_proxied, tells, infos, header):
    """The header with the first messages, byte by byte, and cut in two: what follows is the peer's, all of it."""
    pieces = [
        [header + b"one\ntwo\n"],
        [bytes((byte,)) for byte in header + b"one\n"],
        [header[:20], header[20:] + b"one\n"],
    ]
    with serve_proxied(tells) as server:
        for number, parts in enumerate(pieces):
            with server.dial() as peer:
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for part in parts:
                    peer.sendall(part)
                peer.shutdown(socket.SHUT_WR)
                words = [b"one", b"two"][: 2 - (number > 0)]

                assert [word + b" 203.0.113.7:51234" for word in words] == answers(peer)
        reasons = server.reasons(3)
        heard = sorted(event.bytes_in for event in server.record.of(EventName.CLOSED))

    assert ["peer_closed"] * 3 == list(reasons)
    assert [4, 4, 8] == heard
    assert {("127.0.0.1", "192.0.2.1:443")} == {(info.proxy.host, str(info.destination)) for info, _ in infos}


@engines
def test_a_proxy_that_speaks_for_itself_is_the_peer(serve_proxied, tells, infos):
    """LOCAL, and UNKNOWN of version 1: health checks, and peers that the proxy does not know."""
    with serve_proxied(tells) as server:
        for header in (LOCAL, b"PROXY UNKNOWN\r\n"):
            with server.dial() as peer:
                own = f"{peer.getsockname()[0]}:{peer.getsockname()[1]}".encode()
                peer.sendall(header + b"hi\n")
                peer.shutdown(socket.SHUT_WR)

                assert [b"hi " + own] == answers(peer)
        server.reasons(2)

    assert [True, False] == [info.is_local for info, _ in infos]


@engines
def test_a_second_header_is_the_streams_own(serve_proxied, tells):
    """Nothing is read as a header twice."""
    with serve_proxied(tells) as server, server.dial() as peer:
        peer.sendall(from_client(1) + from_client(2))
        peer.shutdown(socket.SHUT_WR)
        received = answers(peer)

    assert [from_client(2).strip() + b" 203.0.113.1:51234"] == received


@engines
def test_proxy_stands_before_tls(serve_proxied, tells, infos):
    """In clear; the ClientHello may come with it. TLS is the peer's."""
    pytest.importorskip("trustme")
    header = write_header(ProxyHeader(2, False, *_ends(), ((AUTHORITY, b"shown.example"),)), checksum=True)
    with serve_proxied(tells, bind="tls://127.0.0.1:0", tls_cert=server_certificate()) as server:
        for _ in range(2):
            raw = dial(server.address)
            raw.sendall(header)
            with CipheredSocket(raw) as peer:
                peer.sendall(b"one\ntwo\n")
                peer.shutdown(socket.SHUT_WR)

                assert [b"one 203.0.113.7:51234", b"two 203.0.113.7:51234"] == answers(peer)
        reasons = list(server.reasons(2))

    assert ["peer_closed"] * 2 == reasons
    assert {"shown.example"} == {info.authority for info, _ in infos}
    assert all(tls.version.startswith("TLSv1") for _, tls in infos)


def _ends():
    header = [("203.0.113.7", 51234), ("192.0.2.1", 443)]
    return [penstock.address.Peer(name, socket.AF_INET) for name in header]


@engines
def test_what_is_no_header_reaches_no_handler(serve_proxied, tells, infos):
    """Missing, wrong, cut: each has its reason and meets EOF; a proxy that leaves in silence is no failure."""
    greetings = [b"GET / HTTP/1.1\r\n\r\n", b"hello\n", b"PROXY TCP4 nobody\r\n", V2[:20], b"PROXY", b""]
    with serve_proxied(tells) as server:
        for number, greeting in enumerate(greetings):
            with server.dial() as peer:
                peer.sendall(greeting)
                peer.shutdown(socket.SHUT_WR)

                assert b"" == peer.recv(100)
            server.reasons(number + 1)
        reasons = list(server.reasons(len(greetings)))
        failures = [str(event.error) for event in server.record.of(EventName.HANDSHAKE_FAILED)]

    assert ["proxy_missing"] * 2 + ["proxy_bad"] * 3 + ["peer_closed"] == reasons
    assert "a PROXY header is required, and there is HTTP in its place" == failures[0]
    assert [] == infos


@engines
@pytest.mark.parametrize("bind", ["tcp://127.0.0.1:0", "tls://127.0.0.1:0"])
def test_a_header_has_the_deadline_and_the_place_of_a_handshake(serve_proxied, tells, bind):
    """One for all that comes before the first message: who is slow with the header has less time for TLS."""
    pytest.importorskip("trustme")
    options = {"tls_cert": server_certificate()} if bind.startswith("tls") else {}
    with serve_proxied(tells, bind=bind, timeout_handshake=0.2, max_handshakes=1, **options) as server:
        with dial(server.address) as peer:
            peer.sendall(V1[:-1])
            server.wait_until(lambda running: running.gate.handshakes == 1)
            with pytest.raises(ConnectionResetError), dial(server.address) as other:
                other.recv(1)
            with pytest.raises(ConnectionResetError):
                peer.recv(1)
        reasons = list(server.reasons(1))
        refused = refusals(server)

    assert ["handshake_timeout"] == reasons
    assert [("handshakes", "127.0.0.1")] == refused


@engines
def test_only_those_who_are_named_are_believed(serve_proxied, tells, infos):
    """Whatever they send: a forged header of a stranger is not read. An address may be without proxies."""
    binds = ["tcp://127.0.0.1:0", "tcp://127.0.0.1:0?proxy=off"]
    with serve_proxied(tells, bind=binds, proxy_from="192.0.2.0/24") as server:
        with pytest.raises(ConnectionError), server.dial() as peer:
            peer.sendall(V1 + b"one\n")
            peer.recv(1)
        with server.dial(1) as peer:
            own = f"{peer.getsockname()[0]}:{peer.getsockname()[1]}".encode()
            peer.sendall(b"hi\n")
            peer.shutdown(socket.SHUT_WR)

            assert [b"hi " + own] == answers(peer)
        server.reasons(1)
        refused = refusals(server)
        shown = server.addresses

    assert [("proxy_untrusted", "127.0.0.1")] == refused
    assert [None] == [info for info, _ in infos]
    assert [False, True] == ["proxy=off" in address for address in shown]


@engines
def test_the_gate_judges_the_peer_and_not_the_proxy(serve_proxied, tells):
    """Networks and limits per peer are about whom the header names; the proxy itself may be in none of them."""
    with serve_proxied(tells, max_per_peer=1, deny=["203.0.113.9/32", "127.0.0.1/32"]) as server:
        with server.dial() as one, server.dial() as two:
            for peer, number in ((one, 1), (two, 2)):
                peer.sendall(from_client(number) + b"hi\n")
                assert b"hi 203.0.113.%d:51234\n" % number == peer.recv(100)
            for number in (1, 9):
                with server.dial() as peer, pytest.raises(ConnectionResetError):
                    peer.sendall(from_client(number))
                    peer.recv(1)
        server.wait_closed(4)
        with server.dial() as peer:  # the first one has left
            peer.sendall(from_client(1) + b"hi\n")

            assert b"hi 203.0.113.1:51234\n" == peer.recv(100)
        reasons = list(server.reasons(5))
        refused = refusals(server)
        counted = server.wait_until(lambda running: running.gate.open == 0)

    assert [("per_peer", "203.0.113.1"), ("denied", "203.0.113.9")] == refused
    assert ["peer_closed"] * 3 + ["refused"] * 2 == sorted(reasons)
    assert counted is None or counted


@engines
def test_who_is_refused_behind_a_proxy_is_told_as_others_are(serve_proxied, tells):
    """The text, then EOF, where that is the action."""
    options = {"deny": ["203.0.113.0/24"], "on_refusal": ["close"], "refusal_text": "not you"}
    with serve_proxied(tells, **options) as server, server.dial() as peer:
        peer.sendall(V1 + b"hi\n")
        peer.shutdown(socket.SHUT_WR)
        received = peer.makefile("rb").read()
        reasons = list(server.reasons(1))

    assert b"not you\n" == received
    assert ["refused"] == reasons


@engines
def test_a_unix_socket_has_proxies_too(serve_proxied, tells, tmp_path):
    """Named by their users, as everywhere; the peer is of the network."""
    import os

    with (
        serve_proxied(tells, bind=f"unix:{tmp_path}/s", proxy_from=f"uid:{os.getuid()}", max_per_peer=1) as server,
        server.dial() as peer,
    ):
        peer.sendall(V2 + b"hi\n")
        peer.shutdown(socket.SHUT_WR)
        received = answers(peer)

    assert [b"hi 203.0.113.7:51234"] == received


@engines
@pytest.mark.parametrize("secured", [False, True], ids=["tcp", "tls"])
@pytest.mark.parametrize("version", [1, 2])
def test_a_client_says_whose_connection_it_is(serve_proxied, engine, tells, infos, version, secured):
    """Before TLS, on every engine; by default it says its own ends."""
    pytest.importorskip("trustme")
    bind, options = ("tls://127.0.0.1:0", {"tls_cert": server_certificate()}) if secured else ("tcp://127.0.0.1:0", {})
    tls = ClientTls(ca=authority().ca)
    headers = [
        SendProxy(version=version, source="[2001:db8::1]:7", destination="[2001:db8::2]:8"),
        SendProxy(version=version),
    ]
    with serve_proxied(tells, bind=bind, **options) as server:
        found = [ask(engine, server.address, SocketOptions(proxy=header), tls) for header in headers]

    assert b"hi [2001:db8::1]:7" == found[0]
    assert found[1].startswith(b"hi 127.0.0.1:")
    assert "[2001:db8::2]:8" == str(infos[0][0].destination)


def ask(engine, address, options, tls):
    if engine.name == "blocking":
        with penstock.connect_sync(address, options=options, tls=tls) as conn:
            return conn.request(b"hi", 20)

    async def ask_it():
        async with await penstock.connect(address, options=options, tls=tls) as conn:
            return await conn.request(b"hi", 20)

    with asyncio.Runner(loop_factory=engine.loop_factory) as runner:
        return runner.run(ask_it())


@engines
def test_a_header_where_none_is_expected_is_named(serve_proxied, engine):
    """A proxy sends one, and the server was not told: the codec refuses it, and the reason says what it is."""
    service = penstock.on_message(codec="json-lines")(lambda message: message)
    with served(service, engine=engine.name, loop_factory=engine.loop_factory, bind="tcp://127.0.0.1:0") as server:
        for header in (V1, V2):
            with server.dial() as peer:
                peer.sendall(header + b"{}\n")
                peer.shutdown(socket.SHUT_WR)
                answers(peer)
        reasons = list(server.reasons(2))

    assert ["looks_like_proxy"] * 2 == reasons


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"bind": "udp://127.0.0.1:0"}, "the PROXY protocol needs a stream"),
        ({"bind": "unix+seqpacket:s"}, "the PROXY protocol needs a stream"),
        ({"proxy_from": "everybody"}, "is not a network"),
        ({"on_refusal": "wait", "max_per_peer": 3}, "do not go together with on_refusal wait behind a proxy"),
        ({"on_refusal": "wait", "accept_rate_per_peer": "3/s"}, "do not go together"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_at_the_start(options, words):
    """Where no header can be, and where nobody knows who waits."""
    service = penstock.on_message(codec="lines")(lambda message: message)

    async def start():
        async with penstock.serve(service, **{"bind": "tcp://127.0.0.1:0", "proxy_from": "127.0.0.1", **options}):
            raise AssertionError

    with pytest.raises(ConfigurationError, match=words):
        asyncio.run(start())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (functools.partial(SendProxy, version=3), "1 or 2"),
        (functools.partial(SendProxy, version=1, local=True), "no more than two addresses"),
        (functools.partial(SendProxy, source="example.org:1"), "has no names"),
    ],
    ids=str,
)
def test_what_a_client_cannot_say_is_refused_at_once(make, words):
    """Before anything is connected."""
    with pytest.raises(ConfigurationError, match=words):
        make()
