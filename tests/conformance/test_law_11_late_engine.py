"""Law 11: a peer is late when its bytes are, not when the engine is.

Bytes are put into the kernel and the clock is moved in one call on the server's thread: no loop has read them when the
deadline passes, and an engine of threads may or may not have.
"""

import queue
import time

import pytest

import penstock
from penstock.config import Limits, Timeouts
from penstock.core.events import EventName
from penstock.testing.clock import ManualClock
from penstock.testing.peers import PATIENCE_S, read_exactly, read_to_end

NONE = Timeouts(
    first_message_s=None, idle_s=None, message_s=None, write_s=None, lifetime_s=None, drain_s=10.0, linger_s=None
)


@pytest.fixture
def clock():
    return ManualClock()


def echo(_conn, message):
    return message


def received(server, count):
    """The server has read that many bytes of the one connection, and made of them what it makes."""
    until = time.monotonic() + PATIENCE_S
    while server.call(lambda: [conn.bytes_in for conn in server.server.connections]) != [count]:
        assert time.monotonic() < until  # no event tells of a read
    for _ in range(20):
        server.call(lambda: None)


def late(server, clock, seconds, in_time):
    """The clock moves on, and nothing that the peer does ``in_time`` was met by the server before."""

    def both():
        in_time()
        clock.advance(seconds)

    server.call(both)


@pytest.mark.parametrize("which", ["first_message_s", "message_s", "idle_s"])
def test_a_message_that_came_in_time_is_handled_at_its_deadline(serve, form, clock, which):
    """Its beginning was read, its end lies in the kernel; the connection goes on, with its patience before it."""
    with serve(echo, clock=clock, timeouts=NONE.merged(**{which: 8.0})) as server, server.dial() as peer:
        peer.sendall(b"be")
        received(server, 2)
        late(server, clock, 8.0, lambda: peer.sendall(b"gun\n"))
        assert b"begun\n" == read_exactly(peer, 6)
        late(server, clock, 0.0, lambda: peer.sendall(b"again\n"))

        assert b"again\n" == read_exactly(peer, 6)


def test_a_long_message_that_came_in_time_is_read_to_its_end(serve, form, clock, tmp_path):
    """However many reads it takes."""
    options = {"codec": "lines:max=1MiB", "limits": Limits(read_bytes=4096), "bind": f"unix://{tmp_path}/s"}
    message = b"x" * 50_000 + b"\n"
    with serve(echo, clock=clock, timeouts=NONE.merged(message_s=8.0), **options) as server, server.dial() as peer:
        peer.sendall(message[:2])
        received(server, 2)
        late(server, clock, 8.0, lambda: peer.sendall(message[2:]))

        assert message == read_exactly(peer, len(message))


def test_more_of_a_message_that_does_not_end_changes_nothing(serve, form, clock):
    """What came is looked at once: whoever sends a byte at each deadline gains nothing by it."""
    with serve(echo, clock=clock, timeouts=NONE.merged(message_s=8.0)) as server, server.dial() as peer:
        peer.sendall(b"ping\n")
        assert b"ping\n" == read_exactly(peer, 5)  # whoever was at work in a thread waits for the peer now
        peer.sendall(b"be")
        received(server, 7)
        late(server, clock, 8.0, lambda: peer.sendall(b"gun"))

        assert b"" == read_to_end(peer)
        peer.close()
        assert ["message_timeout"] == server.reasons(1)


def test_a_peer_that_left_in_time_was_not_idle(serve, form, clock):
    """Its EOF lies in the kernel: that is why the connection ends."""
    with serve(echo, clock=clock, timeouts=NONE.merged(idle_s=8.0)) as server, server.dial() as peer:
        peer.sendall(b"ping\n")
        assert b"ping\n" == read_exactly(peer, 5)
        received(server, 5)
        late(server, clock, 8.0, peer.close)

        reason = "done" if form.is_conversation else "peer_closed"
        assert [reason] == [each.replace("peer_closed", reason) for each in server.reasons(1)]


def test_a_peer_that_read_in_time_does_not_stall(serve, form, clock, tmp_path):
    """The kernel has room again, of which nobody has told the engine: what waits is sent before anybody is blamed."""
    limits = Limits(write_high_bytes=65536, write_low_bytes=1024)
    options = {"codec": "lines:max=8MiB", "limits": limits, "bind": f"unix://{tmp_path}/s"}
    with (
        serve(
            lambda _conn, message: message * 3_000_000, clock=clock, timeouts=NONE.merged(write_s=8.0), **options
        ) as server,
        server.dial() as peer,
    ):
        peer.sendall(b"x\n")
        server.wait_until(lambda _: server.record.of(EventName.READING_PAUSED))
        received(server, 2)
        late(server, clock, 8.0, lambda: read_exactly(peer, 200_000))

        assert b"x" * 2_800_000 + b"\n" == read_exactly(peer, 2_800_001)


@pytest.fixture
def listen(serve, engine, clock):
    """Serve one peer who is given eight seconds for a message; return what became of each ``receive`` too."""

    def start(**options):
        outcomes = queue.SimpleQueue()

        async def converse(conn):
            for _ in range(2):
                try:
                    outcomes.put(await conn.receive(timeout_s=8.0))
                except (TimeoutError, penstock.EndOfStreamError) as error:
                    outcomes.put(type(error))

        def converse_in_a_thread(conn):
            for _ in range(2):
                try:
                    outcomes.put(conn.receive(timeout_s=8.0))
                except (TimeoutError, penstock.EndOfStreamError) as error:
                    outcomes.put(type(error))

        handler = converse_in_a_thread if engine.name == "blocking" else converse
        service = penstock.on_connection(codec="lines:max=1MiB")(handler)
        return serve(service, clock=clock, timeouts=NONE, **options), lambda: outcomes.get(timeout=PATIENCE_S)

    return start


def test_receive_returns_a_message_that_came_in_time(listen, clock):
    """At its own timeout as at the connection's: the kernel is asked before it is raised."""
    serving, outcome = listen()
    with serving as server, server.dial() as peer:
        peer.sendall(b"be")
        received(server, 2)
        late(server, clock, 8.0, lambda: peer.sendall(b"gun\n"))
        first = outcome()
        received(server, 6)
        late(server, clock, 100.0, lambda: None)

        assert (b"begun", penstock.TimedOutError) == (first, outcome())


def test_receive_returns_a_long_message_that_came_in_time(listen, clock, tmp_path):
    """However many reads it takes."""
    serving, outcome = listen(limits=Limits(read_bytes=4096), bind=f"unix://{tmp_path}/s")
    with serving as server, server.dial() as peer:
        peer.sendall(b"xx")
        received(server, 2)
        late(server, clock, 8.0, lambda: peer.sendall(b"x" * 49_998 + b"\n"))

        assert b"x" * 50_000 == outcome()


def test_receive_gives_up_on_a_message_that_has_not_ended(listen, clock):
    """What came in time is looked at once, and no byte begins the time anew; the next call has what there is."""
    serving, outcome = listen()
    with serving as server, server.dial() as peer:
        peer.sendall(b"b")
        received(server, 1)
        late(server, clock, 5.0, lambda: None)
        peer.sendall(b"e")
        received(server, 2)
        late(server, clock, 3.0, lambda: peer.sendall(b"g"))
        first = outcome()
        peer.sendall(b"un\n")

        assert (penstock.TimedOutError, b"begun") == (first, outcome())
