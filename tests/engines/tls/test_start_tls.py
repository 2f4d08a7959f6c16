"""TLS that begins on an open connection, on every engine and model: nothing in clear passes for ciphered."""

import asyncio
import socket
import ssl

import pytest

import penstock
from penstock import ClientTls
from penstock.core.events import EventName
from penstock.errors import BrokenError, ConnectionEndedError, LocalProtocolError
from penstock.testing.certificates import authority, server_certificate
from penstock.testing.ciphered import CipheredSocket
from penstock.testing.engines import TLS_ENGINES
from penstock.testing.peers import dial, read_to_end
from penstock.testing.served import served

pytest.importorskip("trustme")
engines = pytest.mark.parametrize("engine", TLS_ENGINES, ids=lambda engine: engine.label)


def shown(conn):
    return b"clear" if conn.tls is None else conn.tls.version.encode()


def react(conn, message):
    if message == b"STARTTLS":
        conn.start_tls()
        return b"220 go"
    return b"%s %s" % (message, shown(conn))


@penstock.on_message(codec="lines")
def push(conn, message):
    return react(conn, message)


@penstock.on_message(codec="lines")
async def coroutine(conn, message):
    await asyncio.sleep(0)
    return react(conn, message)


class Callbacks(penstock.Handler):
    def on_connect(self, conn):
        conn.post(b"hello")

    def on_message(self, conn, message):
        return react(conn, message)


@penstock.on_connection(codec="lines")
async def conversation(conn):
    async for message in conn:
        if message == b"STARTTLS":
            conn.start_tls(reply=b"220 go")
            assert shown(conn) == b"clear"
            await conn.wait_tls()
        else:
            await conn.send(b"%s %s" % (message, shown(conn)))


@penstock.on_connection(codec="lines")
def blocking(conn):
    for message in conn:
        if message == b"STARTTLS":
            conn.start_tls(reply=b"220 go")
            conn.wait_tls(20)
        else:
            conn.send(b"%s %s" % (message, shown(conn)))


FORMS = {
    "push": (push, "loop"),
    "threads": (push, "threads"),
    "callbacks": (penstock.as_service(Callbacks, codec="lines"), "loop"),
    "callbacks-threads": (penstock.as_service(Callbacks, codec="lines"), "threads"),
    "coroutine": (coroutine, "loop"),
    "conversation": (conversation, "loop"),
    "blocking": (blocking, "loop"),
}
CASES = [
    pytest.param(engine, *FORMS[form], id=f"{engine.label}-{form}")
    for engine in TLS_ENGINES
    for form in FORMS
    if (engine.name == "blocking" and form not in ("coroutine", "conversation"))
    or (engine.name != "blocking" and form != "blocking")
]
forms = pytest.mark.parametrize(("engine", "service", "model"), CASES)


@pytest.fixture
def serve_clear(engine):
    """Serve in clear, with a certificate for later."""
    if engine.missing:
        pytest.skip(engine.missing)

    def start(target, *, bind="tcp://127.0.0.1:0?tls=start", **options):
        options.setdefault("tls_cert", server_certificate())
        options.setdefault("loop_factory", engine.loop_factory)
        return served(target, engine=engine.name, bind=bind, **options)

    return start


def line(sock):
    """Read a line, and not a byte beyond it."""
    data = b""
    while not data.endswith(b"\n"):
        part = sock.recv(1)
        if not part:
            return data
        data += part
    return data


def begun(address, greeted):
    sock = dial(address)
    if greeted:
        assert b"hello\n" == line(sock)
    return sock


@forms
def test_what_comes_before_is_in_clear_and_what_follows_is_ciphered(serve_clear, service, model):
    """Messages before, the answer that is the last in clear, the handshake, messages after, both ends."""
    with serve_clear(service, model=model) as server:
        raw = begun(server.address, "Callbacks" in str(service.name))
        raw.sendall(b"one\n")
        assert b"one clear\n" == line(raw)
        raw.sendall(b"STARTTLS\n")
        assert b"220 go\n" == line(raw)
        with CipheredSocket(raw) as peer:
            peer.sendall(b"two\nthree\n")
            peer.shutdown(socket.SHUT_WR)
            received = b"".join(iter(lambda: peer.recv(1 << 16), b""))
        reasons = list(server.reasons(1))

    assert b"two TLSv1.3\nthree TLSv1.3\n" == received
    assert reasons in (["peer_closed"], ["done"])


@forms
@pytest.mark.parametrize("injected", [b"RCPT evil\n", b"half", b"STARTTLS\n"])
def test_what_comes_in_clear_with_the_command_is_refused(serve_clear, service, model, injected):
    """STARTTLS injection: what somebody put behind the command is handled neither in clear nor ciphered; T-49."""
    with serve_clear(service, model=model) as server:
        raw = begun(server.address, "Callbacks" in str(service.name))
        with raw:
            raw.sendall(b"STARTTLS\n" + injected)
            received = raw.makefile("rb").read()
        reasons = list(server.reasons(1))
        messages = server.record.of(EventName.CLOSED)[0].connection.messages_in
        failures = [event.error.reason for event in server.record.of(EventName.HANDSHAKE_FAILED)]

    assert received in (b"", b"220 go\n")
    assert ["tls_injected"] == reasons == failures
    assert 1 == messages


class SecuresFirst(penstock.Handler):
    """Has TLS begin as soon as there is a connection."""

    def on_connect(self, conn):
        conn.start_tls()

    def on_message(self, conn, message):
        return b"%s %s" % (message, shown(conn))


HEADER = b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"


@engines
@pytest.mark.parametrize("model", ["loop", "threads"])
@pytest.mark.parametrize("injected", [b"RCPT evil\n", b"half"])
@pytest.mark.parametrize("under", ["proxy", "either"])
def test_what_a_layer_under_tls_has_kept_is_refused(serve_clear, engine, model, injected, under):
    """What comes with a PROXY header, or says that the peer begins in clear, is no message: TLS was to begin first.

    The peer hears of the end at once, not when the time is over for which what has closed is read.
    """
    options = {"proxy_from": ["127.0.0.1"]} if under == "proxy" else {"bind": "tcp+tls://127.0.0.1:0"}
    service = penstock.as_service(SecuresFirst, codec="lines")
    with (
        serve_clear(service, model=model, timeout_linger=None, **options) as server,
        dial(server.address) as raw,
    ):
        raw.sendall((HEADER if under == "proxy" else b"") + injected)
        received = read_to_end(raw)
        reasons = list(server.reasons(1))
        messages = server.record.of(EventName.CLOSED)[0].connection.messages_in

    assert (b"", ["tls_injected"], 0) == (received, reasons, messages)


@forms
def test_a_handshake_that_fails_ends_the_connection(serve_clear, service, model):
    """Text where a ClientHello should be: the handler is told of nothing but the end."""
    with serve_clear(service, model=model, fails=None) as server:
        with begun(server.address, "Callbacks" in str(service.name)) as raw:
            raw.sendall(b"STARTTLS\n")
            assert b"220 go\n" == line(raw)
            raw.sendall(b"MAIL FROM:<>\n")
            raw.shutdown(socket.SHUT_WR)
            received = raw.makefile("rb").read()
        reasons = list(server.reasons(1))

    assert b"" == received
    assert ["not_tls"] == reasons


@engines
def test_a_handshake_has_its_deadline_and_its_place(serve_clear, engine):
    """As one at the beginning has."""
    with (
        serve_clear(push, timeout_handshake=0.2, max_handshakes=1) as server,
        begun(server.address, False) as raw,
    ):
        raw.sendall(b"STARTTLS\n")
        assert b"220 go\n" == line(raw)
        server.wait_until(lambda running: running.gate.handshakes == 1)
        with pytest.raises(ConnectionResetError):
            raw.recv(1)
        reasons = list(server.reasons(1))

    assert ["handshake_timeout"] == reasons


@engines
@pytest.mark.parametrize("trusted", [True, False])
def test_a_client_starts_it_too(serve_clear, engine, trusted):
    """It verifies as always: without that nothing that was sent after it leaves."""
    seen = []

    @penstock.on_message(codec="lines")
    def note(conn, message):
        seen.append(message)
        return react(conn, message)

    tls = ClientTls(ca=authority().ca) if trusted else ClientTls()
    with serve_clear(note) as server:
        if trusted:
            assert (b"two TLSv1.3", "TLSv1.3") == start_as_client(engine, server.address, tls)
        else:
            with pytest.raises(ConnectionEndedError) as caught:
                start_as_client(engine, server.address, tls)
            assert isinstance(caught.value, BrokenError)
            assert "tls_certificate" == caught.value.reason
        server.reasons(1)

    assert [b"STARTTLS", *([b"two"] if trusted else [])] == seen


def start_as_client(engine, address, tls):
    if engine.name == "blocking":
        with penstock.connect_sync(address) as conn:
            assert b"220 go" == conn.request(b"STARTTLS", 20)
            conn.start_tls(tls)
            conn.post(b"two")
            info = conn.wait_tls(20)
            return conn.receive(20), info.version

    async def start():
        async with asyncio.timeout(20), await penstock.connect(address) as conn:
            assert b"220 go" == await conn.request(b"STARTTLS")
            conn.start_tls(tls)
            conn.post(b"two")
            info = await conn.wait_tls()
            return await conn.receive(), info.version

    with asyncio.Runner(loop_factory=engine.loop_factory) as runner:
        return runner.run(start())


@engines
def test_a_client_refuses_what_was_put_behind_the_answer(engine):
    """Response injection: a line in clear after the server's answer is nobody's word."""
    if engine.missing:
        pytest.skip(engine.missing)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"tcp://127.0.0.1:{listening.getsockname()[1]}"

        def answer():
            far, _ = listening.accept()
            with far:
                assert b"STARTTLS\n" == line(far)
                far.sendall(b"220 go\n250 forged\n")
                far.settimeout(20)
                while far.recv(100):
                    pass

        with _Thread(answer):
            with pytest.raises(BrokenError) as caught:
                start_as_client(engine, address, ClientTls(ca=authority().ca))

    assert "tls_injected" == caught.value.reason


class _Thread:
    def __init__(self, function):
        import threading

        self._thread = threading.Thread(target=function)

    def __enter__(self):
        self._thread.start()

    def __exit__(self, *_):
        self._thread.join(20)


@engines
def test_what_waits_for_the_handshake_is_bounded(serve_clear, engine):
    """A peer that never finishes it is owed no more than any other one."""
    raised = []

    @penstock.on_message(codec="lines:max=1MiB")
    def owes(conn, message):
        conn.start_tls(reply=b"220 go")
        others.append(conn)

    others = []
    with serve_clear(owes, limits=penstock.Limits(write_max_bytes=200_000, write_high_bytes=100_000)) as server:
        with dial(server.address) as raw:
            raw.sendall(b"a\n")
            assert b"220 go\n" == line(raw)

            server.wait_until(lambda running: running.gate.handshakes == 1)

            def flood():
                try:
                    for _ in range(10):
                        others[0].post(b"x" * 50_000)
                except ConnectionEndedError as error:
                    raised.append(error)

            server.call(flood)
            reasons = list(server.reasons(1))

    assert ["slow_consumer"] == reasons
    assert 1 == len(raised)


@engines
def test_it_begins_once(serve_clear, engine):
    """Where TLS is spoken already, or is about to be, it cannot begin; nor without a certificate."""
    problems = []

    @penstock.on_message(codec="lines")
    def twice(conn, message):
        for _ in range(2):
            try:
                conn.start_tls()
            except LocalProtocolError as error:
                problems.append(str(error))
        return b"220 go"

    with serve_clear(twice) as server:
        raw = dial(server.address)
        raw.sendall(b"a\n")
        assert b"220 go\n" == line(raw)
        with CipheredSocket(raw) as peer:
            peer.sendall(b"b\n")
            assert b"220 go\n" == peer.recv(100)
    with serve_clear(twice, bind="tcp://127.0.0.1:0", tls_cert=()) as server, dial(server.address) as raw:
        raw.sendall(b"c\n")
        assert b"220 go\n" == line(raw)

    assert ["TLS has begun already"] * 3 == problems[:3]
    assert ["there is no certificate"] * 2 == [problem[:23] for problem in problems[3:]]


@engines
@pytest.mark.parametrize("bind", ["tls://127.0.0.1:0", "tcp://127.0.0.1:0?tls=start"])
def test_it_cannot_begin_before_the_connection_has(serve_clear, engine, bind):
    """Nor while TLS that was there from the beginning shakes hands: there would be two, one in the other."""
    if engine.name == "blocking" and bind.startswith("tcp:"):
        pytest.skip("a connection has its socket from the beginning there, and TLS may begin with it")
    problems = []

    class Hasty:
        def observe(self, event):
            if event.name is EventName.ACCEPTED:
                try:
                    event.connection.start_tls()
                except LocalProtocolError as error:
                    problems.append(str(error))
                connections.append(event.connection)

    connections = []

    def again():
        try:
            connections[0].start_tls()
        except LocalProtocolError as error:
            problems.append(str(error))

    @penstock.on_message(codec="lines")
    def upper(message):
        return message.upper()

    with serve_clear(upper, bind=bind, observers=[Hasty()]) as server:
        raw = dial(server.address)
        server.wait_until(lambda running: len(running.connections) == 1)
        if bind.startswith("tls:"):
            server.wait_until(lambda running: running.gate.handshakes == 1)
            server.call(again)
        with CipheredSocket(raw) if bind.startswith("tls:") else raw as peer:
            peer.sendall(b"a\n")
            received = peer.recv(100)

    assert b"A\n" == received
    assert {"TLS cannot begin before the connection has"} == set(problems)
    assert len(problems) == (2 if bind.startswith("tls:") else 1)


@engines
def test_a_context_of_ones_own_is_used(serve_clear, engine):
    """In place of the server's certificates, or without any."""

    @penstock.on_message(codec="lines")
    def own(conn, message):
        if conn.tls is not None:
            return shown(conn)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(server_certificate())
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        conn.start_tls(context)
        return b"220 go"

    with serve_clear(own, bind="tcp://127.0.0.1:0", tls_cert=()) as server:
        raw = dial(server.address)
        raw.sendall(b"a\n")
        assert b"220 go\n" == line(raw)
        with CipheredSocket(raw) as peer:
            peer.sendall(b"b\n")
            received = peer.recv(100)

    assert b"TLSv1.2\n" == received
