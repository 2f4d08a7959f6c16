"""A datagram is a conversation of one message with its sender, in every form of a handler."""

import asyncio
import contextlib
import socket

import pytest

import penstock
from penstock.address import parse_address
from penstock.address.multicast import send_groups_through
from penstock.core.service import callbacks
from penstock.engines.replies import UNIX_RETRY_S
from penstock.testing.clock import ManualClock
from penstock.testing.peers import PATIENCE_S

BINDS = ["udp://127.0.0.1:0", "udp://[::1]:0", "unix+dgram://{}/s"]


@pytest.fixture(params=BINDS, ids=["udp4", "udp6", "unix"])
def bind(request, tmp_path):
    return request.param.format(tmp_path)


def datagrams(server, count):
    server.wait_until(lambda each: each.stats.datagrams >= count)


@pytest.mark.forms(lambda form: not form.is_conversation)
def test_each_is_answered_to_its_sender(serve, form, bind):
    """The payload is the message, without framing; peers do not get each other's answers."""
    with serve(lambda _conn, message: b"<" + message + b">", bind=bind) as server:
        with server.dial() as one, server.dial() as two:
            for payload in (b"a", b"", b"two\nlines", b"x" * 1000):
                one.send(payload)
                two.send(payload + b"!")
                assert b"<" + payload + b">" == one.recv(2000)
                assert b"<" + payload + b"!>" == two.recv(2000)
        datagrams(server, 8)


@pytest.mark.forms(lambda form: not form.is_conversation)
def test_a_failure_is_reported_once_and_the_next_is_answered(serve, form, bind):
    """Nothing is answered to the one that failed."""

    def react(_conn, message):
        if message == b"raise":
            raise ValueError("on purpose")
        return message

    with serve(react, bind=bind, fails=1) as server, server.dial() as peer:
        peer.send(b"raise")
        datagrams(server, 1)
        peer.send(b"next")

        assert b"next" == peer.recv(100)


@pytest.mark.forms(lambda form: not form.is_conversation)
@pytest.mark.parametrize("posts", [False, True], ids=["returned", "posted"])
def test_an_answer_that_no_datagram_can_hold_is_an_error_of_its_handler(serve, form, bind, caplog, posts):
    """It is told what is too long and how long it may be, and the next one is answered.

    On a Unix socket it is the kernel that knows; there the log has a line.
    """
    if posts and not form.has_conn:
        pytest.skip("nothing to post with")
    is_unix = bind.startswith("unix")
    longest = 400_000 if is_unix else 65_507 if "127.0.0.1" in bind else 65_527

    def react(conn, message):
        if message != b"long":
            return message
        if posts:
            conn.post(bytes(longest + 1))
            return None
        return bytes(longest + 1)

    overload = penstock.OverloadConfig(datagram_amplification=None)
    with serve(react, codec="raw", bind=bind, fails=0 if is_unix else 1, overload=overload) as server:
        with server.dial() as peer:
            peer.send(b"long")
            datagrams(server, 1)
            peer.send(b"next")
            answer = peer.recv(100)
        failures = [str(error) for error in server.record.failures]
        dropped = server.call(lambda: dict(server.server.stats.datagrams_dropped))

    lines = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert b"next" == answer
    if is_unix:
        assert ({"reply_too_long": 1}, ["a reply is too long for a datagram"]) == (dropped, lines)
    else:
        assert [f"a datagram of {longest + 1} bytes is too long: "] == [
            text[: text.index(": ") + 2] for text in failures
        ]
        assert failures[0].endswith(f" takes {longest} at most")
        assert 1 == len(lines)


@pytest.mark.forms(lambda form: form.has_conn and not form.is_conversation)
def test_what_a_handler_may_do(serve, form, bind):
    """Posts leave before the reply; after close a post is refused and the reply is sent; there is no end to send."""
    seen = {}

    def react(conn, message):
        seen.update(is_datagram=conn.is_datagram, bytes_in=conn.bytes_in, peer=str(conn.peer))
        conn.set_timeouts(idle_s=1.0)
        conn.post(b"posted")
        with pytest.raises(penstock.LocalProtocolError):
            conn.send_eof()
        conn.close()
        with pytest.raises(penstock.ClosedError):
            conn.post(b"too late")
        return b"returned"

    with serve(react, bind=bind) as server, server.dial() as peer:
        peer.send(b"hello")

        assert [b"posted", b"returned"] == [peer.recv(100), peer.recv(100)]
        assert (True, 5) == (seen["is_datagram"], seen["bytes_in"])
        name = peer.getsockname()
        assert (str(name[1]) if isinstance(name, tuple) else name[1:].decode()) in seen["peer"]


@pytest.mark.forms(lambda form: form.has_conn and form.model == "loop" and not form.is_conversation)
def test_an_abort_sends_nothing(serve, form, bind):
    """Not even what the handler returns."""

    def react(conn, message):
        if message == b"abort":
            conn.abort()
        return message

    with serve(react, bind=bind) as server, server.dial() as peer:
        peer.send(b"abort")
        peer.send(b"next")

        assert b"next" == peer.recv(100)


@pytest.mark.parametrize("where", ["nowhere", "on_connect", "on_message"])
@pytest.mark.parametrize("form_of_it", ["def", "async", "threads"])
@pytest.mark.engines("pure", "uvloop", "blocking", "native")
def test_callbacks_are_called_in_order_and_on_close_always(serve, engine, bind, where, form_of_it):
    """on_connect, on_message, on_close with the reason, once each, whatever raises."""
    if form_of_it == "async" and engine.name == "blocking":
        pytest.skip("coroutines need a loop")
    calls = []

    class Callbacks(penstock.Handler):
        def on_connect(self, conn):
            calls.append("on_connect")
            if where == "on_connect":
                raise ValueError(where)

        def on_message(self, conn, message):
            calls.append(message)
            if where == "on_message":
                raise ValueError(where)
            return message

        def on_close(self, conn, reason):
            calls.append(str(reason))

    class AsyncCallbacks(Callbacks):
        async def on_message(self, conn, message):
            await asyncio.sleep(0)
            return super().on_message(conn, message)

        async def on_close(self, conn, reason):
            await asyncio.sleep(0)
            super().on_close(conn, reason)

    service = callbacks(AsyncCallbacks if form_of_it == "async" else Callbacks, name="one")
    model = "threads" if form_of_it == "threads" else "loop"
    with serve(service, bind=bind, model=model, fails=int(where != "nowhere")) as server, server.dial() as peer:
        peer.send(b"hello")
        datagrams(server, 1)

    assert {
        "nowhere": ["on_connect", b"hello", "done"],
        "on_connect": ["on_connect", "handler_error"],
        "on_message": ["on_connect", b"hello", "handler_error"],
    }[where] == calls


@pytest.mark.forms(lambda form: form.label in ("def-message", "async-message"))
def test_what_is_no_message_is_dropped_and_counted(serve, form, bind):
    """Under the codec's reason; the next one is answered."""
    with serve(lambda _conn, message: message, codec="json-lines", bind=bind) as server, server.dial() as peer:
        for payload in (b"{]", b"", b"1 2"):
            peer.send(payload)
        peer.send(b'"good"')

        assert b'"good"' == peer.recv(100).rstrip()
        assert 3 == server.server.stats.datagrams_dropped.total()


@pytest.mark.forms(lambda form: form.label in ("def-message", "async-message"))
def test_a_peer_that_is_gone_does_not_matter(serve, form):
    """Its port answers with an error of ICMP, which comes back as one of the server's own socket."""
    with serve(lambda _conn, message: message, bind="udp://127.0.0.1:0") as server, server.dial() as other:
        for _ in range(10):
            with server.dial() as peer:
                peer.send(b"hello")
        other.send(b"still there?")

        assert b"still there?" == other.recv(100)


@pytest.mark.engines("pure", "uvloop", "native")
def test_a_drain_answers_what_is_being_handled(serve, engine, bind):
    """Then nobody is listening."""
    leave = asyncio.Event()
    entered = []

    @penstock.on_message
    async def slow(message):
        entered.append(message)
        await leave.wait()
        return message

    with serve(slow, bind=bind) as server, server.dial() as peer:
        peer.send(b"hello")
        while not server.call(lambda: list(entered)):
            pass
        server.call(server.server.begin_drain)
        server.call(leave.set)

        assert b"hello" == peer.recv(100)
        server.wait(server.server.wait_stopped())
        assert [] == list(server.server.addresses)
        peer.setblocking(False)
        with pytest.raises(OSError):
            peer.send(b"anybody?")
            peer.recv(100, socket.MSG_DONTWAIT)


@pytest.fixture
def deaf():
    """A Unix peer whose queue can be full: of one that is connected to the sender the kernel takes any number."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("")
        sock.settimeout(PATIENCE_S)
        yield sock


@pytest.fixture
def sent():
    return [b"%d" % number for number in range(30)]


def read_what_is_there(sock):
    sock.setblocking(False)
    received = []
    with contextlib.suppress(BlockingIOError):
        while True:
            received.append(sock.recv(100))
    return received


@pytest.mark.forms(lambda form: form.label in ("def-message", "async-message"))
@pytest.mark.engines("pure", "uvloop", "native")
def test_a_unix_peer_without_room_costs_no_turns_of_the_loop(serve, form, tmp_path, deaf, sent):
    """The socket says writable whatever room a peer has: it is asked again after a moment, and others are served."""
    clock = ManualClock()
    with serve(lambda _conn, message: message, bind=f"unix+dgram://{tmp_path}/s", clock=clock) as server:
        with server.dial() as other:
            for number in sent:
                deaf.sendto(number, f"{tmp_path}/s")
            datagrams(server, len(sent))
            other.send(b"served?")
            assert b"served?" == other.recv(100)
        received = []
        while batch := read_what_is_there(deaf):
            received += batch
            for _ in range(20):
                server.call(lambda: None)
            assert [] == read_what_is_there(deaf)
            server.call(lambda: clock.advance(UNIX_RETRY_S))

        assert sent == received


@pytest.mark.engines("blocking")
def test_a_unix_peer_without_room_holds_nobody_up_on_threads(serve, engine, tmp_path, deaf, sent):
    """Others are served, and it gets everything when it reads."""

    @penstock.on_message
    def echo(message):
        return message

    with serve(echo, bind=f"unix+dgram://{tmp_path}/s") as server, server.dial() as other:
        for number in sent:
            deaf.sendto(number, f"{tmp_path}/s")
        other.send(b"served?")
        assert b"served?" == other.recv(100)

        assert sent == [deaf.recv(100) for _ in sent]


# -- the address that was asked ----------------------------------------------------------------------------------------


def own_address(family):
    """An address of this machine that is no loopback address; None where it has none."""
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        try:  # sends nothing: it asks for a route to addresses of documentation
            sock.connect(("198.51.100.1", 9) if family == socket.AF_INET else ("2001:db8::1", 9))
        except OSError:
            return None
        return sock.getsockname()[0]


# Where it listens; whom a client asks, and from where: the kernel by itself would answer from another address.
ASKED = {
    "IPv4": ("udp://0.0.0.0:0", "127.0.0.5", "127.0.0.1"),
    "IPv4, another interface": ("udp://0.0.0.0:0", own_address(socket.AF_INET), "127.0.0.1"),
    "both families, IPv4": ("udp://*:0", "127.0.0.5", "127.0.0.1"),
    "both families, IPv6": ("udp://*:0", own_address(socket.AF_INET6), "::1"),
    "IPv6": ("udp://[::]:0", own_address(socket.AF_INET6), "::1"),
}


@pytest.mark.forms(lambda form: not form.is_conversation)
@pytest.mark.parametrize("asked", ASKED)
def test_the_address_that_was_asked_answers(serve, form, asked):
    """On a socket of every address, in batches too: who takes answers from whom he asked only, hears them."""
    bind, host, source = ASKED[asked]
    if host is None:
        pytest.skip("this machine has no other address")
    with serve(lambda _conn, message: b"<" + message + b">", bind=bind) as server:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.settimeout(PATIENCE_S)
            peer.bind((source, 0))
            peer.connect((host, server.port))
            server.call(server.server.suspend)
            for number in range(40):
                peer.send(b"%d" % number)
            server.call(server.server.resume)
            answers = sorted(peer.recv(100) for _ in range(40))

    assert sorted(b"<%d>" % number for number in range(40)) == answers


@pytest.mark.forms(lambda form: form.label in ("def-message-conn", "def-callbacks", "async-message-conn"))
def test_what_is_posted_comes_from_there_too(serve, form):
    """Beside replies, and behind them."""

    def react(conn, message):
        conn.post(b"posted")
        return message

    with serve(react, bind="udp://0.0.0.0:0") as server:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.settimeout(PATIENCE_S)
            peer.bind(("127.0.0.1", 0))
            peer.connect(("127.0.0.5", server.port))
            peer.send(b"asked")

            assert [b"posted", b"asked"] == [peer.recv(100) for _ in range(2)]


@pytest.mark.forms(lambda form: not form.is_conversation)
def test_what_is_sent_to_a_group_is_answered_from_an_address_of_the_machine(serve, form):
    """To its sender alone."""
    bind = "udp://239.255.77.4:0?interface=lo"
    with serve(lambda _conn, message: b"<" + message + b">", bind=bind) as server:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.settimeout(PATIENCE_S)
            send_groups_through(peer, "lo")
            port = parse_address(server.server.addresses[0]).port
            peer.sendto(b"who is there?", ("239.255.77.4", port))
            answer, name = peer.recvfrom(100)
        datagrams(server, 1)

    assert (b"<who is there?>", port) == (answer, name[1])
    assert not name[0].startswith("239.")
