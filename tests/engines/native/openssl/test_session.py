"""Records in compiled code: which connections have it, and that nothing a peer or a handler does reaches too far."""

import contextlib
import ctypes
import gc
import random
import ssl
import struct
import threading

import pytest

import penstock
from penstock.engines.native.openssl import loaded
from penstock.engines.native.openssl.session import OpenSslSession
from penstock.engines.tls import layer
from penstock.engines.tls.session import MemorySession
from penstock.testing.certificates import authority, server_certificate
from penstock.testing.ciphered import CipheredSocket
from penstock.testing.engines import ALL_ENGINES
from penstock.testing.peers import dial
from penstock.testing.served import served

pytest.importorskip("trustme")
pytestmark = pytest.mark.skipif(loaded.why_not() is not None, reason=str(loaded.why_not()))
NATIVE = [engine for engine in ALL_ENGINES if engine.label in ("native", "attached")]
engines = pytest.mark.parametrize("engine", NATIVE, ids=lambda engine: engine.label)


@pytest.fixture
def serve(engine):
    def start(target, **options):
        options.setdefault("bind", "tls://127.0.0.1:0")
        options.setdefault("tls_cert", server_certificate())
        return served(target, engine=engine.name, loop_factory=engine.loop_factory, **options)

    return start


@pytest.fixture
def made(monkeypatch):
    """The sessions that layers get, by their types."""
    found = []
    original = layer.session_for

    def note(user, wrap):
        session = original(user, wrap)
        found.append(type(session))
        return session

    monkeypatch.setattr(layer, "session_for", note)
    return found


@penstock.on_message(codec="lines:max=1MiB")
def upper(message):
    return message.upper()


def talk(address, lines=3, **options):
    """Have so many lines answered, one after the other; return what the last one came to."""
    with CipheredSocket(dial(address), **options) as peer, peer.makefile() as answers:
        for number in range(lines):
            peer.sendall(b"line %d\n" % number)
            answer = answers.readline()
    return answer


@engines
def test_a_servers_own_contexts_have_it(serve, made):
    """Though they have callbacks: those are ours, and are for the handshake."""
    with serve(upper, tls_client_ca=authority().ca, tls_client_auth="optional") as server:
        answer = talk(server.address)
        reason = server.server.tls_reason

    assert (b"LINE 2\n", [OpenSslSession]) == (answer, made)
    assert f"{ssl.OPENSSL_VERSION}, in compiled code" == reason


@engines
def test_a_server_that_was_told_not_to_leaves_it_to_ssl(serve, made):
    """``--tls-link memory``; the banner says that it was asked for."""
    with serve(upper, tls_link="memory") as server:
        answer = talk(server.address)
        reason = server.server.tls_reason

    assert (b"LINE 2\n", []) == (answer, made)
    assert "Python's ssl: asked for" == reason


class Reader(ssl.SSLObject):
    """Does something of its own with what is read."""

    def read(self, *arguments):
        return super().read(*arguments)


class Ender(ssl.SSLObject):
    """Does something of its own at the end."""

    def unwrap(self):
        return super().unwrap()


def plain():
    return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


def with_names():
    context = plain()
    context.sni_callback = lambda *_: None
    return context


def with_messages():
    context = plain()
    context._msg_callback = lambda *_: None
    return context


def with_objects(kind=Reader):
    context = plain()
    context.sslobject_class = kind
    return context


def with_enders():
    return with_objects(Ender)


@pytest.mark.parametrize(
    ("make", "types"),
    [
        (plain, [OpenSslSession]),
        (with_names, []),
        (with_messages, []),
        (with_objects, [MemorySession]),
        (with_enders, [MemorySession]),
    ],
    ids=["plain", "names", "messages", "objects", "ends"],
)
@pytest.mark.parametrize("engine", NATIVE[:1], ids=lambda engine: engine.label)
def test_a_context_of_a_users_with_callbacks_is_left_to_ssl(serve, made, make, types):
    """Whatever they do, they do it where `ssl` expects it."""
    context = make()
    context.load_cert_chain(server_certificate())

    @penstock.on_message(codec="lines")
    def start(conn, message):
        if message == b"go":
            conn.start_tls(context)
            return b"going"
        return message.upper()

    with serve(start, bind="tcp://127.0.0.1:0?tls=start") as server:
        sock = dial(server.address)
        sock.sendall(b"go\n")
        assert b"going\n" == sock.recv(100)
        with CipheredSocket(sock) as peer:
            peer.sendall(b"one\n")
            answer = peer.recv(100)
            peer.sendall(b"two\n")
            answer += peer.recv(100)

    assert (b"ONE\nTWO\n", types) == (answer, made)


@engines
def test_what_comes_with_the_end_of_a_handshake_is_answered_in_one_piece_with_it(serve):
    """The tickets of the server and the answer to what came with the client's Finished: one send, and one read."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = authority().client().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with serve(upper) as server, dial(server.address) as raw:
        with contextlib.suppress(ssl.SSLWantReadError):
            session.do_handshake()
        raw.sendall(outgoing.read())
        while outgoing.pending == 0:
            incoming.write(raw.recv(65536))
            with contextlib.suppress(ssl.SSLWantReadError):
                session.do_handshake()
        session.write(b"one\ntwo\n")
        raw.sendall(outgoing.read())
        incoming.write(raw.recv(65536))
        answer = session.read(100)

    assert b"ONE\nTWO\n" == answer


@engines
@pytest.mark.parametrize("end", ["close", "abort"])
def test_a_handler_may_end_its_connection_in_the_middle_of_a_read(serve, end):
    """What follows in the same read is dropped, and nothing that is gone is touched: law 8."""
    seen = []

    @penstock.on_message(codec="lines")
    def ending(conn, message):
        seen.append(message)
        if message == b"end":
            getattr(conn, end)()
        return message

    with serve(ending) as server:
        for number in range(20):
            with contextlib.suppress(OSError, ssl.SSLError), CipheredSocket(dial(server.address)) as peer:
                session = peer._session
                for line in (b"one\n", b"end\n", b"more\n" * 5000):
                    session.write(line)
                peer._flush()
                while peer.recv(65536):
                    pass
            server.reasons(number + 1)
        reasons = set(server.reasons(20))

    assert {b"one", b"end"} == set(seen)
    assert {"done" if end == "close" else "aborted"} == reasons


@engines
def test_another_connection_may_be_written_to_from_a_handler(serve):
    """Each has what it enciphers with to itself."""
    group = []

    class Relay(penstock.Handler[bytes]):
        def on_connect(self, conn):
            group.append(conn)

        def on_message(self, conn, message):
            for other in group:
                other.post(message * 3000)

    with serve(penstock.as_service(Relay, codec="lines:max=1MiB")) as server, contextlib.ExitStack() as peers:
        socks = [peers.enter_context(CipheredSocket(dial(server.address))) for _ in range(4)]
        server.wait_until(lambda _: len(group) == 4)
        socks[0].sendall(b"a\nb\n")
        received = []
        for sock in socks:
            with sock.makefile() as answers:
                received.append([answers.readline(), answers.readline()])

    assert [[b"a" * 3000 + b"\n", b"b" * 3000 + b"\n"]] * 4 == received


@engines
def test_an_object_of_ssl_that_somebody_kept_is_no_way_to_what_is_gone(serve):
    """It has nothing to read, and nowhere to write."""
    with serve(upper) as server:
        with CipheredSocket(dial(server.address)) as peer:
            peer.sendall(b"one\n")
            peer.recv(100)
            kept = server.call(lambda: [each for each in gc.get_objects() if type(each) is ssl.SSLObject])
            kept = [each for each in kept if each.server_side]
        server.reasons(1)
    gc.collect()

    got = []
    for use in (lambda: kept[0].read(10), lambda: kept[0].write(b"x"), kept[0].unwrap):
        with contextlib.suppress(ssl.SSLError, OSError):
            got.append(use())
    assert 1 == len(kept)
    assert set() == set(got) - {b"", None}


class Socket(ctypes.Structure):
    """The beginning of a session of `_ssl`'s."""

    _fields_ = [(name, ctypes.c_void_p) for name in ("count", "type", "socket", "ssl")]


@engines
def test_a_peer_may_change_its_keys(serve):
    """RFC 8446 section 4.6.3: what was asked for is answered, and both go on with new keys."""
    functions = ctypes.CDLL(ssl._ssl.__file__)
    functions.SSL_key_update.argtypes = [ctypes.c_void_p, ctypes.c_int]
    with serve(upper) as server, CipheredSocket(dial(server.address)) as peer, peer.makefile() as answers:
        received = []
        for number in range(4):
            assert 1 == functions.SSL_key_update(Socket.from_address(id(peer._session._sslobj)).ssl, number % 2)
            peer.sendall(b"line %d\n" % number)
            received.append(answers.readline())

    assert [b"LINE %d\n" % number for number in range(4)] == received


@engines
def test_a_finaliser_that_aborts_may_run_where_a_reply_cannot_be_enciphered(serve):
    """Law 8: what is made to say so may be what has the collector run, up to CPython 3.11 at any such place."""
    functions = ctypes.CDLL(ssl._ssl.__file__)
    functions.SSL_set_shutdown.argtypes = [ctypes.c_void_p, ctypes.c_int]
    finalised = []

    class Left:
        def __init__(self, conn):
            self.conn = conn
            self.itself = self
            self.thread = threading.get_ident()

        def __del__(self):
            finalised.append(self.conn.id)
            if threading.get_ident() == self.thread:
                self.conn.abort()

    @penstock.on_message(codec="lines")
    def spoil(conn, message):
        ours = [each for each in gc.get_objects() if type(each) is ssl.SSLObject and each.server_side]
        for each in ours:  # as after a close_notify: nothing is enciphered any more
            functions.SSL_set_shutdown(Socket.from_address(id(each._sslobj)).ssl, 1)
        del ours, each
        gc.disable()
        Left(conn)
        gc.set_threshold(1)
        gc.enable()
        return message

    usual = gc.get_threshold()
    try:
        with serve(spoil) as server:
            for number in range(5):
                with contextlib.suppress(OSError), CipheredSocket(dial(server.address)) as peer:
                    peer.sendall(b"one\n")
                    peer.recv(100)
                server.reasons(number + 1)
            reasons = set(server.reasons(5))
    finally:
        gc.set_threshold(*usual)
        gc.enable()
    gc.collect()

    assert 5 == len(finalised)
    assert reasons <= {"aborted", "tls_error"}


@engines
def test_records_that_were_changed_cut_repeated_or_made_up_end_their_connection_alone(serve):
    """What is handled is a beginning of what was sent, and the server serves the next one."""
    dice = random.Random(2017)
    beginnings = []
    seen = []

    @penstock.on_message(codec="lines:max=1MiB")
    def note(conn, message):
        seen.append((conn.id, message))
        return message

    with serve(note) as server:
        for number in range(120):
            sent = [b"%d " % index + bytes(dice.choices(b"abcdef", k=dice.choice((1, 60, 3000)))) for index in range(6)]
            with contextlib.suppress(OSError, ssl.SSLError), CipheredSocket(dial(server.address)) as peer:
                records = []
                for line in sent:
                    peer._session.write(line + b"\n")
                    records.append(peer._outgoing.read())
                peer.raw.settimeout(5)
                for data in spoiled(dice, records):
                    peer.raw.sendall(data)
                peer.raw.shutdown(1)
                while peer.raw.recv(65536):
                    pass
            server.reasons(number + 1)
            beginnings.append(sent)
        answer = talk(server.address)
        reasons = set(server.reasons(121))

    handled = {}
    for connection, message in seen:
        handled.setdefault(connection, []).append(message)
    *others, last = handled.values()
    assert b"line 2\n" == answer
    assert [b"line 0", b"line 1", b"line 2"] == last
    assert all(any(lines == sent[: len(lines)] for sent in beginnings) for lines in others)
    assert {"tls_error", "tls_truncated"} <= reasons


def spoiled(dice, records):
    """Yield records after something was done to one of them, in pieces of any size."""
    kind = dice.choice(("change", "cut", "repeat", "swap", "invent", "drop"))
    at = dice.randrange(len(records))
    record = bytearray(records[at])
    if kind == "change":
        record[dice.randrange(len(record))] ^= 1 << dice.randrange(8)
        records[at] = bytes(record)
    elif kind == "cut":
        del records[at:]
        records.append(bytes(record[: dice.randrange(1, len(record))]))
    elif kind == "repeat":
        records.insert(at, bytes(record))
    elif kind == "swap":
        records.insert(dice.randrange(len(records)), records.pop(at))
    elif kind == "drop":
        del records[at]
    else:
        size = dice.choice((0, 1, 16, 300, 16640, 16641, 65535))
        head = struct.pack("!BHH", dice.choice((20, 21, 22, 23, 24, 0, 255)), dice.choice((0x0303, 0x0301, 0)), size)
        records.insert(at, head + dice.randbytes(size))
    stream = b"".join(records)
    while stream:
        size = dice.choice((1, 5, 40, 4000, 1 << 20))
        yield stream[:size]
        stream = stream[size:]
