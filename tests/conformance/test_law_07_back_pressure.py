"""Law 7: output over the high watermark stops reading; over the hard limit it ends the connection."""

import asyncio
import socket
import threading

import pytest

import penstock
from penstock.config import Limits
from penstock.core.events import EventName
from penstock.testing.peers import read_exactly, read_to_end

pytestmark = pytest.mark.tapped

KIB = 1024
LIMITS = Limits(write_high_bytes=64 * KIB, write_low_bytes=16 * KIB, write_max_bytes=1024 * KIB)


def kernel_bytes(sock):
    """What the kernel may hold for one direction of a Unix connection, with its own overhead for each buffer."""
    return 2 * sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)


@pytest.mark.parametrize("reply_bytes", [1000, 60_000])
def test_a_peer_that_does_not_read_is_not_read(serve, form, tmp_path, reply_bytes):
    """The server stops taking messages; what it holds is bounded; all of it arrives once the peer reads."""
    count = 200 if reply_bytes > 1000 else 4000
    handled = []

    def react(_conn, message):
        handled.append(1)
        return message * (reply_bytes // 10)

    with serve(react, codec="lines:max=1MiB", limits=LIMITS, bind=f"unix://{tmp_path}/s") as server:
        with server.dial() as peer:

            def send():
                peer.sendall(b"0123456789\n" * count)
                peer.shutdown(socket.SHUT_WR)

            sender = threading.Thread(target=send)
            sender.start()
            server.wait_until(lambda _: server.record.of(EventName.READING_PAUSED))
            owed_bytes = len(handled) * (reply_bytes + 1)
            answer = read_to_end(peer)
            sender.join()

            # On its way may be what the kernel takes, the watermark, and the first batch, which went over it.
            assert kernel_bytes(peer) + LIMITS.write_high_bytes + 17 * 60_001 >= owed_bytes
        assert (b"0123456789" * (reply_bytes // 10) + b"\n") * count == answer
        assert ["peer_closed"] == server.reasons(1)
        events = server.record.of
        assert len(events(EventName.READING_PAUSED)) - len(events(EventName.READING_RESUMED)) in (0, 1)


@pytest.mark.forms(lambda form: form.has_conn)
def test_a_peer_that_is_owed_too_much_is_cut(serve, form):
    """post() never waits, so it is what fails at the hard limit: the slow peer is aborted, nobody else notices."""
    errors = []

    def react(conn, message):
        if message != b"flood":
            return message
        try:
            for _ in range(100_000):
                conn.post(b"x" * 10_000)
        except penstock.PenstockError as error:
            errors.append(error)
            raise

    with serve(react, limits=LIMITS) as server, server.dial() as other:
        with server.dial(receive_buffer_bytes=4096) as peer:
            peer.sendall(b"flood\nnext\n")
            assert ["slow_consumer"] == server.reasons(1)

            with pytest.raises(ConnectionResetError):
                read_to_end(peer)
        assert [penstock.SlowPeerError] == [type(error) for error in errors]
        other.sendall(b"still there?\n")
        assert b"still there?\n" == other.recv(100)


@pytest.mark.engines("pure", "uvloop", "native")
def test_a_slow_peer_of_another_handler_is_cut_alone(serve, engine):
    """A handler that posts to others goes on past the one that cannot take it."""
    members = []

    @penstock.on_message(codec="lines")
    def room(conn, message):
        if message == b"join":
            members.append(conn)
            return b"joined"
        failed = 0
        for _ in range(500):
            for member in list(members):
                try:
                    member.post(b"x" * 10_000)
                except penstock.SlowPeerError:
                    members.remove(member)
                    failed += 1
        return b"%d failed" % failed

    with serve(room, limits=LIMITS) as server, server.dial() as speaker:
        with server.dial(receive_buffer_bytes=4096) as sleeper:
            sleeper.sendall(b"join\n")
            assert b"joined\n" == sleeper.recv(100)
            speaker.sendall(b"talk\n")

            assert b"1 failed\n" == speaker.recv(100)
            assert ["slow_consumer"] == server.reasons(1)


@pytest.mark.engines("pure", "uvloop", "native")
def test_send_waits_for_a_peer_that_does_not_read(serve, engine, tmp_path):
    """A coroutine that sends without end is held where the peer stopped reading, and goes on when it reads."""
    sent = []

    @penstock.on_connection(codec="lines")
    async def firehose(conn):
        for number in range(2000):
            await conn.send(b"%0999d" % number)
            sent.append(number)

    with serve(firehose, limits=LIMITS, bind=f"unix://{tmp_path}/s") as server:
        with server.dial() as peer:
            server.wait_until(lambda _: server.record.of(EventName.READING_PAUSED))
            assert kernel_bytes(peer) + LIMITS.write_high_bytes + 2000 >= len(sent) * 1000

            answer = read_to_end(peer)
        assert b"".join(b"%0999d\n" % number for number in range(2000)) == answer
        assert ["done"] == server.reasons(1)


@pytest.mark.engines("pure", "uvloop", "native")
def test_several_tasks_send_at_once(serve, engine):
    """Frames of tasks that send to the same connection never interleave, and each task keeps its order."""

    @penstock.on_connection(codec="lines")
    async def chorus(conn):
        async def voice(name):
            for number in range(200):
                await conn.send(name * 500 + b"%d" % number)

        async with asyncio.TaskGroup() as group:
            for name in (b"a", b"b", b"c"):
                group.create_task(voice(name))

    with serve(chorus, limits=LIMITS) as server:
        with server.dial(receive_buffer_bytes=8192) as peer:
            lines = read_to_end(peer).splitlines()

        expected = {name: [name * 500 + b"%d" % number for number in range(200)] for name in (b"a", b"b", b"c")}
        assert expected == {name: [line for line in lines if line.startswith(name)] for name in expected}
        assert 600 == len(lines)
        assert ["done"] == server.reasons(1)


@pytest.mark.engines("pure", "uvloop", "native")
def test_a_send_that_waits_meets_the_end_of_the_connection(serve, engine, tmp_path):
    """A reset while send() waits ends the wait with the reason; cancelling a waiting send queues nothing."""
    outcomes = []

    @penstock.on_connection(codec="lines")
    async def firehose(conn):
        try:
            while True:
                await conn.send(b"x" * 1000)
        except penstock.PenstockError as error:
            outcomes.append((type(error), str(error.reason)))
            raise

    with serve(firehose, limits=LIMITS) as server:
        peer = server.dial(receive_buffer_bytes=4096)
        server.wait_until(lambda _: server.record.of(EventName.READING_PAUSED))
        peer.close()  # with unread input: a reset

        assert ["reset"] == server.reasons(1)
    assert [(penstock.BrokenError, "reset")] == outcomes


@pytest.mark.engines("pure", "uvloop", "native")
def test_a_peer_is_heard_however_much_it_is_sent(serve, engine, tmp_path):
    """Output that is over its watermark again as soon as it fell does not keep the input from being read."""

    @penstock.on_connection(codec="lines")
    async def flood(conn):
        stopped = asyncio.Event()

        async def listen():
            async for message in conn:
                if message == b"stop":
                    stopped.set()

        listener = asyncio.create_task(listen())
        while not stopped.is_set():
            await conn.send(b"x" * 60_000)
        listener.cancel()

    with serve(flood, limits=LIMITS, bind=f"unix://{tmp_path}/s") as server:
        with server.dial() as peer:
            received = 0
            for _ in range(300):  # more than any buffer holds, from a peer that does one thing at a time
                peer.sendall(b"y" * 9_999 + b"\n")
                received += len(read_exactly(peer, 60_001))
            peer.sendall(b"stop\n")
            received += len(read_to_end(peer))

        assert 0 == received % 60_001
        assert ["done"] == server.reasons(1)
