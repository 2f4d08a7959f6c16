"""Serving as the whole purpose of a process: signals and exit status."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import threading

import pytest

import penstock
from penstock.config import Timeouts
from penstock.errors import ExitStatus
from penstock.server.choice import ENGINES

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of this kind are a thing of Unix")


@penstock.on_message(codec="lines")
def echo(message: bytes) -> bytes:
    return message


@pytest.fixture
def handlers_untouched():
    """The signal handlers after the test are those before it."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    yield
    assert before == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


def in_a_thread(work):
    """Run ``work(server)`` beside the server; a function for ``on_ready``."""
    threads = []

    def on_ready(server):
        thread = threading.Thread(target=work, args=(list(server.addresses),))
        threads.append(thread)
        thread.start()

    return on_ready, threads


def test_what_was_opened_is_closed_when_on_ready_fails(tmp_path):
    """The file of a Unix socket goes; the error comes out."""
    path = tmp_path / "s"

    def on_ready(_server):
        assert path.exists()
        raise ValueError("not ready")

    with pytest.raises(ValueError, match="not ready"):
        penstock.run(echo, bind=f"unix:{path}", on_ready=on_ready)

    assert not path.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_drains_and_the_status_is_ok(number, handlers_untouched):
    """Ctrl-C and SIGTERM: what was received is answered, then everything is closed."""
    received = []

    def peer(addresses):
        host, port = addresses[0].removeprefix("tcp://").split(":")
        with socket.create_connection((host, int(port))) as sock:
            sock.sendall(b"hello\n")
            received.append(sock.recv(100))
            os.kill(os.getpid(), number)
            received.append(sock.recv(100))

    on_ready, threads = in_a_thread(peer)
    status = penstock.run(echo, bind="tcp://127.0.0.1:0", on_ready=on_ready)
    threads[0].join()

    assert (ExitStatus.OK, [b"hello\n", b""]) == (status, received)


def test_a_second_signal_stops_at_once(handlers_untouched):
    """A handler that does not end is cut off by the second signal, however long the drain may take."""
    entered = threading.Event()
    seen = []

    @penstock.on_connection
    async def stuck(conn):
        import asyncio

        entered.set()
        await asyncio.Event().wait()

    def peer(addresses):
        host, port = addresses[0].removeprefix("tcp://").split(":")
        with socket.create_connection((host, int(port))) as sock:
            entered.wait()
            os.kill(os.getpid(), signal.SIGTERM)
            try:
                seen.append(sock.recv(100))
            except ConnectionResetError:
                seen.append("reset")

    on_ready, threads = in_a_thread(peer)
    status = penstock.run(
        stuck,
        bind="tcp://127.0.0.1:0",
        on_ready=on_ready,
        timeouts=Timeouts(drain_s=None),
        observers=[SecondSignal()],
    )
    threads[0].join()

    assert (ExitStatus.DRAIN_TIMEOUT, ["reset"]) == (status, seen)


@pytest.mark.parametrize("engine", ["native", "pure"])
def test_signals_are_met_while_a_handler_never_waits(engine, handlers_untouched):
    """It only sends, to a peer that is gone, and takes what is raised for nothing: two signals end it all the same."""
    if engine not in ENGINES:
        pytest.skip(f"there is no {engine} engine")
    entered = threading.Event()

    @penstock.on_connection
    async def spinning(conn):
        entered.set()
        while True:
            with contextlib.suppress(penstock.PenstockError):
                await conn.send(b"tick")

    def peer(addresses):
        host, port = addresses[0].removeprefix("tcp://").split(":")
        with socket.create_connection((host, int(port))):
            entered.wait()
        os.kill(os.getpid(), signal.SIGINT)

    on_ready, threads = in_a_thread(peer)
    status = penstock.run(
        spinning,
        bind="tcp://127.0.0.1:0",
        engine=engine,
        on_ready=on_ready,
        timeouts=Timeouts(drain_s=None),
        observers=[SecondSignal()],
    )
    threads[0].join()

    assert status in (ExitStatus.OK, ExitStatus.DRAIN_TIMEOUT)  # its peer's end came first, or the second signal


class SecondSignal:
    """Sends it when the first has begun the drain: two that are sent together may arrive as one."""

    def observe(self, event, /):
        if event.name == "draining":
            os.kill(os.getpid(), signal.SIGTERM)


def test_cutting_somebody_at_the_drain_deadline_shows_in_the_status(handlers_untouched):
    """Exit status 7: stopped, but connections were cut."""
    entered = threading.Event()

    @penstock.on_connection
    async def stuck(conn):
        import asyncio

        entered.set()
        await asyncio.Event().wait()

    def peer(addresses):
        host, port = addresses[0].removeprefix("tcp://").split(":")
        with socket.create_connection((host, int(port))) as sock:
            entered.wait()
            os.kill(os.getpid(), signal.SIGTERM)
            with pytest.raises(ConnectionResetError):
                sock.recv(100)

    on_ready, threads = in_a_thread(peer)
    status = penstock.run(stuck, bind="tcp://127.0.0.1:0", on_ready=on_ready, timeouts=Timeouts(drain_s=0.0))
    threads[0].join()

    assert ExitStatus.DRAIN_TIMEOUT == status


@pytest.mark.parametrize("engine", sorted(ENGINES))
def test_outside_the_main_thread_it_serves_without_signals_and_says_so(engine, caplog):
    """Beside a GUI or a bot: Python has signal handlers in the main thread alone. The loop can be told to stop it."""
    ready, stop, statuses = threading.Event(), [], []

    def on_ready(server):
        stop.append((asyncio.get_running_loop(), server))
        ready.set()

    def work():
        statuses.append(penstock.run(echo, bind="tcp://127.0.0.1:0", engine=engine, on_ready=on_ready))

    thread = threading.Thread(target=work)
    with caplog.at_level(logging.WARNING, logger="penstock"):
        thread.start()
        assert ready.wait(20)
        loop, server = stop[0]
        with penstock.connect_sync(server.addresses[0]) as conn:
            reply = conn.request(b"hello")
        loop.call_soon_threadsafe(server.begin_drain)
        thread.join(20)

    told = "signals cannot stop this server: it does not run in the main thread; call "
    assert (b"hello", [ExitStatus.OK]) == (reply, statuses)
    assert [True] == [message.startswith(told) for message in caplog.messages]


async def test_in_a_running_loop_it_is_refused():
    """It would block that loop, and asyncio refuses with an error of its own once the server is half made."""
    with pytest.raises(penstock.ConfigurationError, match=r"penstock\.serve"):
        penstock.run(echo, bind="tcp://127.0.0.1:0")
