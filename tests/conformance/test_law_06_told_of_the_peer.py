"""Law 6 for the callbacks that are told of the peer: of its end, its silence, of what cannot be read, of a drain."""

import asyncio
import contextlib
import socket
import threading
from collections import Counter

import pytest

import penstock
from penstock.config import Timeouts
from penstock.core.events import EventName
from penstock.core.service import callbacks
from penstock.testing.peers import PATIENCE_S, read_to_end, reset

from .raising import NAMES, PEERS, RAISING, act, kind_of

CODECS = {"on_protocol_error": "lines:max=8", "on_bad_message": "json-lines"}
# Long enough for every task to begin: a connection that is idle before it has begun ends without being asked.
TIMES = {"on_idle": Timeouts(idle_s=0.5, drain_s=10.0)}
# A peer that has sent EOF is read no further, nor is any peer by a server that drains: its reset is met by sending.
UNREAD = ("on_eof", "on_drain")
CASES = [(word, peer) for word in RAISING for peer in PEERS]


@pytest.mark.engines("pure", "uvloop", "native", "attached", "blocking")
@pytest.mark.parametrize("model", ["loop", "threads"])
@pytest.mark.parametrize("is_async", [False, True], ids=["def", "async"])
@pytest.mark.parametrize("where", ["on_eof", "on_idle", "on_protocol_error", "on_bad_message", "on_drain"])
def test_whatever_a_callback_raises_ends_its_connection_alone_be_the_peer_there_or_not(
    serve, engine, where, is_async, model
):
    """The peer leaves or resets while the callback is at work; a coroutine has met a reset when it raises."""
    if is_async and (model == "threads" or engine.name == "blocking" or where == "on_bad_message"):
        pytest.skip("there is no such callback")
    of_peer = {}  # by what the server calls it
    all_here = threading.Event()

    def is_left_out(conn):
        """Say whether one is idle before the last of them was here, or is the one that is asked after them."""
        return where == "on_idle" and not (all_here.is_set() and str(conn.peer) in of_peer)

    def leave(conn):
        word, peer, sock = of_peer.pop(str(conn.peer), ("", "there", None))
        if peer == "gone":
            sock.close()
        elif peer == "reset":
            reset(sock)
        return word, peer

    class Failing(penstock.Handler):
        def on_message(self, conn, message):
            return message

    def fail(self, conn, *_):
        if is_left_out(conn):
            return True
        act(leave(conn)[0])
        return None

    async def fail_async(self, conn, *_):
        if is_left_out(conn):
            return True
        word, peer = leave(conn)
        if peer == "reset" and where not in UNREAD:
            async with asyncio.timeout(PATIENCE_S):
                await conn.wait_closed()
        act(word)
        return None

    setattr(Failing, where, fail_async if is_async else fail)
    service = callbacks(Failing, name="failing", codec=CODECS.get(where, "lines"))
    options = {"timeouts": TIMES.get(where, Timeouts(drain_s=10.0)), "threads": 2 * len(CASES)}
    with (
        serve(service, codec=service.codec, model=model, fails=len(CASES), **options) as server,
        contextlib.ExitStack() as peers,
    ):
        socks = []
        for case in CASES:
            sock = peers.enter_context(server.dial())
            socks.append((sock, case[1]))
            host, port = sock.getsockname()
            of_peer[f"{host}:{port}"] = *case, sock
        server.wait_until(lambda _: len(server.record.of(EventName.ACCEPTED)) == len(CASES))
        all_here.set()
        for sock, _ in socks:
            if where == "on_eof":
                with contextlib.suppress(OSError):  # over TLS close_notify goes first, and has the callback close it
                    sock.shutdown(socket.SHUT_WR)
            elif where in CODECS:
                sock.sendall(b"[no json at all\n")
        if where == "on_drain":
            server.call(server.server.begin_drain)
        for sock, peer in socks:
            if peer == "there":
                with contextlib.suppress(ConnectionError):
                    read_to_end(sock)
        reasons = server.reasons(len(CASES))
        server.wait_until(lambda _: len(server.record.failures) == len(CASES))
        failures = Counter(kind_of(error) for error in server.record.failures)
        if where != "on_drain":
            with server.dial() as other:
                other.sendall(b"[]\n")

                assert b"[]" == other.recv(100).strip()

    assert {} == of_peer
    assert len(CASES) == len(reasons)
    assert Counter(NAMES[word] for word, _ in CASES) == failures
