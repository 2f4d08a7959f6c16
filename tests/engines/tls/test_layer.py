"""TLS on every engine: what passes, how it ends, and who is turned away before any handler hears of it."""

import asyncio
import contextlib
import socket
import ssl
import struct
from pathlib import Path

import pytest

import penstock
from penstock import ClientTls
from penstock.config import TlsConfig
from penstock.core.events import EventName
from penstock.core.x509 import certificates_of_pem
from penstock.server.tls import Material
from penstock.testing.certificates import authority, server_certificate
from penstock.testing.ciphered import CipheredSocket
from penstock.testing.engines import TLS_ENGINES
from penstock.testing.peers import dial, read_exactly
from penstock.testing.served import served

pytest.importorskip("trustme")
engines = pytest.mark.parametrize("engine", TLS_ENGINES, ids=lambda engine: engine.label)
LONG = bytes(range(97, 123)) * 5_000  # several records


@pytest.fixture
def serve_tls(engine):
    """Serve over TLS on an engine."""
    if engine.missing:
        pytest.skip(engine.missing)

    def start(target, *, bind="tls://127.0.0.1:0", **options):
        options.setdefault("tls_cert", server_certificate())
        options.setdefault("loop_factory", engine.loop_factory)
        return served(target, engine=engine.name, bind=bind, **options)

    return start


def told(server, kind=EventName.HANDSHAKE_FAILED):
    return [str(event.error) for event in server.record.of(kind)]


@pytest.fixture
def infos():
    return []


@pytest.fixture
def upper(infos):
    """A service that notes what its handler is told about TLS."""

    @penstock.on_message(codec="lines:max=1MiB")
    def upper(conn, message):
        infos.append(conn.tls)
        return message.upper()

    return upper


@engines
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda each: each.name)
def test_messages_pass_in_both_versions(serve_tls, upper, infos, version):
    """Short ones that leave together, long ones of several records, and both ends by close_notify."""
    with serve_tls(upper, alpn=["echo/2", "echo/1"]) as server:
        context = authority().client(maximum_version=version)
        context.set_alpn_protocols(["echo/1"])
        with CipheredSocket(dial(server.address), context) as peer:
            peer.sendall(b"one\ntwo\n" + LONG + b"\n")
            peer.shutdown(socket.SHUT_WR)
            received = b"".join(iter(lambda: peer.recv(1 << 16), b""))
        reasons = list(server.reasons(1))

    assert [b"ONE", b"TWO", LONG.upper()] == received.splitlines()
    assert ["peer_closed"] == reasons
    assert (version.name, "echo/1", "localhost") == (
        infos[0].version.replace(".", "_"),
        infos[0].alpn,
        infos[0].server_name,
    )


@engines
@pytest.mark.parametrize("place", ["unix", "inherited"])
def test_unix_sockets_and_inherited_ones_speak_tls_too(serve_tls, upper, tmp_path, place):
    """Where the address says so: ``?tls=on``."""
    listening = socket.create_server(("127.0.0.1", 0))
    bind = f"unix:{tmp_path}/s?tls=on" if place == "unix" else f"fd://{listening.fileno()}?tls=on"
    with serve_tls(upper, bind=bind) as server, CipheredSocket(dial(server.address)) as peer:
        peer.sendall(b"one\n")
        received = peer.recv(100)
        shown = server.address
    if place == "unix":
        listening.close()
    else:
        listening.detach()

    assert b"ONE\n" == received
    assert shown == (bind.replace("unix:", "unix://") if place == "unix" else shown)
    assert place == "unix" or shown.startswith("tls://")


@engines
def test_eof_without_close_notify_is_a_cut_and_no_end(serve_tls, upper):
    """Whole messages before it are handled; the rest of a message is none, though the codec would take it for one."""
    seen = []

    @penstock.on_message(codec="lines")
    def note(conn, message):
        seen.append(message)

    with serve_tls(note) as server:
        peer = CipheredSocket(dial(server.address))
        peer.sendall(b"whole\npart")
        peer.raw.shutdown(socket.SHUT_WR)
        reasons = list(server.reasons(1))
        peer.raw.close()

    assert [b"whole"] == seen
    assert ["tls_truncated"] == reasons


@engines
def test_a_plain_client_is_told_of_and_turned_away(serve_tls, upper, infos):
    """HTTP and other text meet EOF; one that says nothing and leaves is no failure."""
    with serve_tls(upper) as server:
        for number, greeting in enumerate((b"GET / HTTP/1.1\r\n\r\n", b"hello\n", b"")):
            with dial(server.address) as peer:
                peer.sendall(greeting)
                peer.shutdown(socket.SHUT_WR)
                assert b"" == peer.recv(100)
            server.reasons(number + 1)
        reasons = list(server.reasons(3))
        failures = told(server)

    assert ["not_tls", "not_tls", "peer_closed"] == reasons
    assert ["the peer speaks HTTP where TLS is spoken", "the peer speaks plain text where TLS is spoken"] == failures[
        :2
    ]
    assert [] == infos


@engines
def test_a_handshake_has_its_deadline_and_its_place_at_the_gate(serve_tls, upper, infos):
    """A ClientHello cut at each of its parts: nothing is said, and the peer is reset in time; T-45."""
    hello = _client_hello()
    with serve_tls(upper, timeout_handshake=0.2) as server:
        for number, size in enumerate((0, 1, 5, 6, len(hello) - 1)):
            with dial(server.address) as peer:
                peer.sendall(hello[:size])
                with pytest.raises(ConnectionResetError):
                    peer.recv(1)
                server.reasons(number + 1)
        reasons = list(server.reasons(5))
        left = server.call(lambda: server.server.gate.handshakes)

    assert ["handshake_timeout"] * 5 == reasons
    assert 0 == left
    assert [] == infos


@engines
def test_a_server_that_stops_in_a_handshake_ends_it(serve_tls, upper):
    """Nothing waits for a peer that says nothing."""
    with serve_tls(upper, timeout_handshake=None) as server:
        with dial(server.address) as peer:
            other = CipheredSocket(dial(server.address))
            other.sendall(b"x\n")
            assert b"X\n" == read_exactly(other, 2)  # or its end would meet unread bytes, and be a reset
            other.close()
            server.reasons(1)  # the first one's handshake has begun by then
            in_handshake = server.call(lambda: server.server.gate.handshakes)
            server.call(server.server.begin_stop)
            with pytest.raises(ConnectionResetError):
                peer.recv(1)
            reasons = list(server.reasons(2))

    assert (1, ["peer_closed", "stopped"]) == (in_handshake, reasons)


@engines
def test_a_stream_may_be_cut_anywhere(serve_tls, upper):
    """Handshake, messages and end, a byte at a time."""
    with serve_tls(upper) as server:
        raw = dial(server.address)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with CipheredSocket(ByteByByte(raw)) as peer:
            peer.sendall(b"one\ntwo\n")
            received = b""
            while len(received) < 8:
                received += peer.recv(100)
            peer.shutdown(socket.SHUT_WR)
            rest = peer.recv(100)
        reasons = list(server.reasons(1))

    assert (b"ONE\nTWO\n", b"", ["peer_closed"]) == (received, rest, reasons)


class ByteByByte:
    """A socket that sends one byte at a time."""

    def __init__(self, sock):
        self._sock = sock

    def __getattr__(self, name):
        return getattr(self._sock, name)

    def send(self, data):
        return self._sock.send(data[:1])


@engines
def test_what_was_agreed_can_be_asked_for_after_the_end(serve_tls):
    """In on_close, and of the connection of its event."""
    seen = []

    class Notes(penstock.Handler[bytes]):
        def on_message(self, conn, message):
            return message

        def on_close(self, conn, reason):
            seen.append(conn.tls)

    with serve_tls(penstock.as_service(Notes, codec="lines")) as server:
        with CipheredSocket(dial(server.address)) as peer:
            peer.sendall(b"one\n")
            peer.recv(100)
        server.reasons(1)
        (closed,) = server.record.of(EventName.CLOSED)

    assert [closed.connection.tls] == seen
    assert "TLSv1.3" == seen[0].version


@engines
def test_a_record_that_was_changed_ends_the_connection(serve_tls, upper, infos):
    """Nothing of it is handed on."""
    with serve_tls(upper) as server:
        peer = CipheredSocket(dial(server.address))
        peer.sendall(b"one\n")
        assert b"ONE\n" == peer.recv(100)
        peer.raw.sendall(struct.pack("!BHH", 23, 0x0303, 32) + bytes(32))
        reasons = list(server.reasons(1))
        peer.raw.close()

    assert ["tls_error"] == reasons
    assert 1 == len(infos)


@engines
def test_a_certificate_is_chosen_by_the_name_that_is_asked_for(serve_tls, upper):
    """The first one where none is for it."""
    other = authority().issue("other", "other.example", "*.wild.example")
    found = []
    with serve_tls(upper, tls_cert=[server_certificate(), other]) as server:
        for name in ("localhost", "other.example", "a.wild.example"):
            with CipheredSocket(dial(server.address), name=name) as peer:
                found.append(peer._session.getpeercert()["subjectAltName"][0][1])

    assert ["localhost", "other.example", "other.example"] == found


REFUSED = "the peer's certificate is refused: {}; it says it is {{subject}}"
CLIENTS = {
    "right": (None, "peer_closed"),
    "missing": ("the client sent no certificate, and one is required", "tls_certificate"),
    "expired": (REFUSED.format("certificate has expired"), "tls_certificate"),
    "not yet valid": (REFUSED.format("certificate is not yet valid"), "tls_certificate"),
    "another authority": (REFUSED.format("unable to get local issuer certificate"), "tls_certificate"),
    "revoked": (REFUSED.format("certificate revoked"), "tls_certificate"),
    "of a server": (REFUSED.format("unsuitable certificate purpose"), "tls_certificate"),
    "who signed it is missing": (REFUSED.format("unable to get local issuer certificate"), "tls_certificate"),
}


@pytest.fixture(scope="module")
def client_files(tmp_path_factory):
    """Certificates of clients by what is the matter with them, and the list that revokes one."""
    ours = authority()
    strangers = type(ours)(tmp_path_factory.mktemp("strangers"))
    found = {
        "right": ours.issue("c-right", "c@example.org"),
        "missing": None,
        "expired": ours.issue("c-expired", "c@example.org", days=-0.5),
        "not yet valid": ours.issue("c-early", "c@example.org", since_days=-1),
        "another authority": strangers.issue("c-other", "c@example.org"),
        "revoked": ours.issue("c-revoked", "c@example.org"),
        "of a server": ours.issue_for_servers("c-server", "c@example.org"),
        "who signed it is missing": ours.issue_by_another("c-short", "c@example.org", chain=False),
    }
    return found, ours.revoke("crl", found["revoked"])


@engines
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda each: each.name)
@pytest.mark.parametrize("which", CLIENTS)
def test_a_client_shows_the_right_certificate_or_reaches_no_handler(
    serve_tls, upper, infos, client_files, which, version
):
    """T-48: whatever is wrong is named, and nothing is delivered. In TLS 1.3 the client learns of it later."""
    problem, reason = CLIENTS[which]
    files, revoked = client_files
    with serve_tls(upper, tls_client_ca=authority().ca, tls_crl=revoked) as server:
        context = authority().client(files[which], maximum_version=version)
        try:
            with CipheredSocket(dial(server.address), context) as peer:
                peer.sendall(b"one\n")
                peer.recv(100)
        except (ssl.SSLError, OSError):
            assert problem is not None
        reasons = list(server.reasons(1))
        failures = told(server)

    assert [reason] == reasons
    shown = None if files[which] is None else certificates_of_pem(Path(files[which]).read_bytes())[0].subject
    assert ([] if problem is None else [problem.format(subject=shown)]) == failures
    assert ([("c@example.org",)] if problem is None else []) == [info.certificate.names for info in infos]


@engines
def test_a_client_of_another_protocol_is_refused_where_that_is_asked_for(serve_tls, upper, infos):
    """With ``alpn_required``: one that offers nothing of what is spoken here, or nothing at all."""
    with serve_tls(upper, alpn=["echo/1"], alpn_required=True) as server:
        for offered in (["echo/1"], ["ftp"], []):
            context = authority().client()
            if offered:
                context.set_alpn_protocols(offered)
            with contextlib.suppress(ssl.SSLError, OSError), CipheredSocket(dial(server.address), context) as peer:
                peer.sendall(b"one\n")
                peer.recv(100)
        reasons = sorted(server.reasons(3))
        failures = told(server)

    assert ["peer_closed", "tls_handshake", "tls_handshake"] == reasons
    assert ["the client offers none of the protocols of ALPN: echo/1"] * 2 == failures
    assert ["echo/1"] == [info.alpn for info in infos]


def _client_hello():
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = authority().client().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        session.do_handshake()
    return outgoing.read()


SERVERS = {
    "right": ({}, None),
    "unknown authority": ({"ca": None}, "the peer's certificate is refused: "),
    "wrong name": ({"server_name": "elsewhere.example"}, "Hostname mismatch"),
    "not verified": ({"ca": None, "verify": False}, None),
    "another key": ({"pins": ("sha256/" + "A" * 43 + "=",)}, "which is none of the pins"),
}


@engines
@pytest.mark.parametrize("which", SERVERS)
def test_a_client_believes_the_right_server_alone(serve_tls, upper, engine, which):
    """Anything else raises before a message can be sent, and says why; nothing is left open."""
    options, problem = SERVERS[which]
    tls = ClientTls(**{"ca": authority().ca} | options)
    with serve_tls(upper) as server:
        outcome = asked(engine, server.address, tls)
        reason = server.reasons(1)[0]

    if problem is None:
        assert (b"ONE", "peer_closed") == (outcome, reason)
    else:
        assert isinstance(outcome, penstock.ConnectError)
        assert problem in outcome.problem
        assert (penstock.Phase.HANDSHAKE, penstock.CloseReason.TLS_CERTIFICATE) == (
            outcome.phase,
            outcome.__cause__.reason,
        )


def asked(engine, address, tls):
    """Ask one thing; return the answer, or why there was no connection."""
    if engine.name == "blocking":
        try:
            with penstock.connect_sync(address, tls=tls) as conn:
                return conn.request(b"one")
        except penstock.ConnectError as error:
            return error

    async def ask():
        try:
            async with await penstock.connect(address, tls=tls) as conn:
                return await conn.request(b"one")
        except penstock.ConnectError as error:
            return error

    with asyncio.Runner(loop_factory=engine.loop_factory) as runner:
        return runner.run(ask())


@engines
def test_a_client_meets_a_server_that_speaks_no_tls(engine):
    """It says what it met there, and does not wait until time runs out."""
    if engine.missing:
        pytest.skip(engine.missing)

    class Greeter(penstock.Handler[bytes]):
        def on_connect(self, conn):
            conn.post(b"220 hello")

    with served(
        penstock.as_service(Greeter, codec="lines"), engine=engine.name, loop_factory=engine.loop_factory,
        bind="tcp://127.0.0.1:0",
    ) as server:  # fmt: skip
        outcome = asked(engine, server.address.replace("tcp://", "tls://"), ClientTls(verify=False))

    assert "the peer speaks plain text where TLS is spoken" == outcome.problem


@engines
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda each: each.name)
def test_a_session_is_resumed_until_the_certificates_are_others(serve_tls, upper, infos, version):
    """By its ticket: RFC 5077, RFC 8446 section 2.2. One that was given for the old material is worth nothing later."""
    context = authority().client(maximum_version=version)
    other = authority().issue("later", "localhost", "127.0.0.1")
    session, reused = None, []
    with serve_tls(upper) as server:
        for number in range(3):
            if number == 2:
                server.call(lambda: server.server._show(Material(TlsConfig(cert=(other,)))))
            with context.wrap_socket(dial(server.address), server_hostname="localhost", session=session) as peer:
                peer.sendall(b"one\n")
                assert b"ONE\n" == peer.recv(100)
                session = peer.session
                reused.append(peer.session_reused)
        server.wait_closed(3)

    assert [False, True, False] == reused == [info.resumed for info in infos]
