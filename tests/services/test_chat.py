"""Chat: every other one hears it."""

import contextlib

import pytest

from penstock.config import Limits, Timeouts
from penstock.errors import ConfigurationError

CONCURRENT = pytest.mark.parametrize("room_model", ["loop", "threads"])


@contextlib.contextmanager
def members(server, count):
    with contextlib.ExitStack() as stack:
        joined = [stack.enter_context(server.peer()) for _ in range(count)]
        server.wait_connections(count)
        yield joined


def hear_line(peer):
    if peer.is_record:
        return peer.hear() + b"\n"
    line = b""
    while not line.endswith(b"\n"):
        line += peer.sock.recv(1)
    return line


@CONCURRENT
def test_every_other_one_hears_it(run, connection, room_model):
    """In the order it was said; the speaker hears nothing of it."""
    end = b"" if connection == "seqpacket" else b"\n"
    with run("chat", connection, model=room_model) as server, members(server, 3) as (anna, bert, carla):
        settle(server)
        for number in range(5):
            anna.say(b"anna %d" % number + end)
        for listener in (bert, carla):
            assert [b"anna %d\n" % number for number in range(5)] == [hear_line(listener) for _ in range(5)]
        bert.say(b"bert" + end)

        assert b"bert\n" == hear_line(anna) == hear_line(carla)


def settle(server):
    """Every member's on_connect has run: nothing tells of it but the members' number in the room."""
    handler = server.server.service.handler
    room = next(
        cell.cell_contents
        for cell in handler.factory.on_connect.__closure__
        if type(cell.cell_contents).__name__ == "Group"
    )
    while len(room) != len(server.server.connections):
        server.call(lambda: None)


def test_one_at_a_time_nobody_is_there_to_hear(run, connection):
    """A room for one: the speaker hears nothing, and is served to the end."""
    with run("chat", connection, model="one-at-a-time") as server:
        assert b"" == server.once(b"hello\n")


@CONCURRENT
def test_who_left_hears_nothing_and_harms_nobody(run, connection, room_model):
    """A member that left politely or not is out of the room."""
    end = b"" if connection == "seqpacket" else b"\n"
    with run("chat", connection, model=room_model) as server, members(server, 4) as (anna, bert, carla, dora):
        settle(server)
        carla.finish()
        dora.sock.close()
        server.wait_connections(2)
        anna.say(b"still there?" + end)

        assert b"still there?\n" == hear_line(bert)


@CONCURRENT
def test_a_member_that_does_not_read_is_cut_alone(run, stream, room_model):
    """It alone suffers: the others hear every word."""
    options = {"limits": Limits(write_max_bytes=65536), "timeouts": Timeouts(drain_s=5.0)}
    with run("chat", stream, model=room_model, server_options=options) as server:
        with members(server, 3) as (anna, bert, _sleeper), bert.sock.makefile("rb") as ears:
            settle(server)
            for number in range(2000):
                anna.say(b"%d " % number + b"x" * 8000 + b"\n")
                assert b"%d " % number == ears.readline()[:-8001]
            server.wait_closed(1)

            assert {"slow_consumer": 1} == dict(server.server.stats.closed)


def test_everybody_talks_at_once(run):
    """From many threads: each hears what every other one said, each speaker's words in order."""
    with run("chat", "tcp4", model="threads") as server, members(server, 5) as peers:
        settle(server)
        for number in range(50):
            for index, peer in enumerate(peers):
                peer.say(b"%d %d\n" % (index, number))
        for index, peer in enumerate(peers):
            lines = [hear_line(peer).split() for _ in range(200)]
            for other in set(range(5)) - {index}:
                assert [b"%d" % number for number in range(50)] == [say for who, say in lines if who == b"%d" % other]


def test_it_needs_connections(run, datagram):
    """A room has to know who is in it."""
    with pytest.raises(ConfigurationError, match="chat needs connections"), run("chat", datagram):
        pass
