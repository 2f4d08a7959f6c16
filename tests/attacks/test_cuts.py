"""Connections that are lost at the worst moment, by the peer's reset and by the kernel alone. T-07, RFC 5961."""

import asyncio
import contextlib
import re
import socket
import subprocess
import threading

import pytest

import penstock
from penstock.config import Timeouts
from penstock.core.states import TRANSITIONS, Input, State
from penstock.testing.peers import dial, read_exactly, reset

KIB = 1024
LINE = b"abcdefg\n"
EXCHANGE = LINE * 8

# In these the peer has sent EOF before its reset, and in these the server's side leaves by itself.
PEER_ENDED = {State.PEER_EOF, State.BOTH_EOF, State.FLUSHING}
LEAVING = {State.CLOSING, State.FLUSHING, State.LINGERING}
LOSABLE = [state for state, entries in TRANSITIONS.items() if Input.LOST in entries]


@pytest.fixture
def destroy():
    """A function that has the kernel end the server's side of all connections to a port; it returns how many.

    SOCK_DESTROY of sock_diag(7), by ``ss -K``: what an administrator does, and what a blind reset that hits amounts to.
    """

    def call(port):
        done = subprocess.run(
            ["ss", "--kill", "--tcp", "--numeric", "--no-header", "state", "connected", "src", f"127.0.0.1:{port}"],
            capture_output=True,
            text=True,
            check=True,
        )
        return len(done.stdout.splitlines())

    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as peer:
        accepted, _ = listener.accept()
        with accepted:
            try:
                killed = call(listener.getsockname()[1])
            except FileNotFoundError:
                pytest.skip("ss is not installed")
            except subprocess.CalledProcessError as error:
                pytest.skip(f"ss cannot destroy sockets here: {error.stderr.strip()}")
            if not killed:
                pytest.skip("this kernel, or this user, destroys no sockets (CONFIG_INET_DIAG_DESTROY, CAP_NET_ADMIN)")
            peer.close()
    return call


def test_a_connection_that_the_kernel_ends_after_each_byte_is_one_end(serve, opened, destroy, until, engine, figure):
    """T-07: 64 connections, each one byte further in the exchange, are gone at once, without a byte from a peer."""
    service = penstock.on_message(codec="lines")(lambda message: message)
    with serve(service) as server:
        for k in range(1, 65):
            peer = server.dial()
            opened.append(peer)
            peer.sendall(EXCHANGE[:k])
            assert EXCHANGE[: k // 8 * 8] == read_exactly(peer, k // 8 * 8)
        until(server, lambda it: sum(conn.bytes_in for conn in it.connections) == sum(range(1, 65)))
        killed = destroy(server.port)
        reasons = server.reasons(64)
    figure(f"T-07 {engine.label}: {killed} connections destroyed after byte k of 64: {len(reasons)} x {reasons[0]}")

    assert 64 == killed
    assert ["reset"] * 64 == reasons


class Stage:
    """A conversation that brings its connection into a state and stays there until it is told to go on."""

    def __init__(self):
        self.on = None

    def service(self, state, engine):
        def leave(conn):
            if state in (State.LOCAL_EOF, State.BOTH_EOF):
                conn.send_eof()
            if state in (State.CLOSING, State.FLUSHING):
                with contextlib.suppress(penstock.SlowPeerError):
                    for _ in range(100):
                        conn.post(b"x" * (64 * KIB))
            if state in LEAVING:
                conn.close()
            return state in LEAVING

        @penstock.on_connection(codec="lines:max=1MiB")
        async def converse(conn):
            self.on = asyncio.Event()
            await conn.receive()
            if leave(conn):
                return
            with contextlib.suppress(penstock.EndOfStreamError):
                if state in PEER_ENDED:
                    await conn.receive()
            await self.on.wait()
            with contextlib.suppress(penstock.PenstockError):
                await conn.send(b"still there?")

        @penstock.on_connection(codec="lines:max=1MiB")
        def converse_in_a_thread(conn):
            self.on = threading.Event()
            conn.receive()
            if leave(conn):
                return
            with contextlib.suppress(penstock.EndOfStreamError):
                if state in PEER_ENDED:
                    conn.receive()
            self.on.wait()
            with contextlib.suppress(penstock.PenstockError):
                conn.send(b"still there?")

        return converse_in_a_thread if engine.name == "blocking" else converse


def states(server):
    """The states of a server's connections, as they show them."""
    return [re.sub(r".* (\w+)>", r"\1", repr(conn)) for conn in server.connections]


def in_state(serve, state, engine, until, opened, cut):
    """Bring a connection into a state, cut it, let the handler go on; return why it closed."""
    stage = Stage()
    limits = penstock.Limits(write_max_bytes=64 * 1024 * KIB)
    timeouts = Timeouts(drain_s=10.0, linger_s=None, write_s=None)
    with serve(stage.service(state, engine), limits=limits, timeouts=timeouts) as server:
        sock = dial(server.address, receive_buffer_bytes=4096)
        opened.append(sock)
        sock.sendall(b"begin\n")
        if state in PEER_ENDED:
            sock.shutdown(socket.SHUT_WR)
        until(server, lambda it: stage.on is not None and states(it) == [state.value])
        cut(server, sock)
        if state not in LEAVING:
            server.call(stage.on.set)
        return server.reasons(1)


@pytest.mark.parametrize("state", LOSABLE, ids=lambda it: it.value)
def test_a_reset_in_every_state_is_one_end(serve, state, until, opened, engine, figure):
    """Drawn from the table: wherever a connection can be lost, a reset loses it, once, with a reason, without noise."""
    reasons = in_state(serve, state, engine, until, opened, lambda _, sock: reset(sock))
    figure(f"T-07 {engine.label}: a reset while {state.value}: {reasons[0]}")

    assert 1 == len(reasons)
    assert reasons[0] in {"reset", "network", "done", "peer_closed"}


@pytest.mark.parametrize("state", LOSABLE, ids=lambda it: it.value)
def test_a_connection_that_the_kernel_ends_in_every_state_is_one_end(
    serve, state, until, opened, destroy, engine, figure
):
    """The same without the peer: an error no peer caused is no reset, and still no more than one end."""
    reasons = in_state(serve, state, engine, until, opened, lambda server, _: destroy(server.port))
    figure(f"T-07 {engine.label}: destroyed while {state.value}: {reasons[0]}")

    assert 1 == len(reasons)
    assert reasons[0] in {"reset", "network", "done", "peer_closed"}
