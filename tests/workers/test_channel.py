"""Messages and descriptors over a pair of sockets, in whatever pieces they come."""

import asyncio
import contextlib
import errno
import os
import socket

import pytest

from penstock.workers.channel import Channel, ChannelError
from penstock.workers.messages import Beat, Drain, FromSupervisor, FromWorker, Leaving, Opened, OpenedSocket, Ready


@pytest.fixture
def pair():
    """Two ends: the supervisor's, and the worker's."""
    ours, theirs = socket.socketpair()
    ends = Channel(ours, FromWorker), Channel(theirs, FromSupervisor)
    yield ends
    for end in ends:
        end.close()


def opened(number):
    return Opened(number=number, listeners=[OpenedSocket("tcp://127.0.0.1:0", "tcp://127.0.0.1:9")])


def test_what_is_said_is_heard_in_order_with_its_descriptors(pair):
    """Each descriptor is the callee's, and not inheritable."""
    supervisor, worker = pair
    read, write = os.pipe()
    supervisor.send(Drain(last=True))
    supervisor.send(opened(1), [write])
    supervisor.send(opened(2))
    os.close(write)

    assert (Drain(last=True), []) == worker.receive()
    message, (descriptor,) = worker.receive()
    assert (1, 1) == (message.number, message.descriptors)
    assert not os.get_inheritable(descriptor)
    assert (opened(2), []) == worker.receive()
    os.write(descriptor, b"x")
    os.close(descriptor)
    assert b"x" == os.read(read, 9)
    assert b"" == os.read(read, 9)
    os.close(read)


async def test_what_the_other_end_does_not_read_yet_is_kept(pair):
    """Nobody waits for it: neither messages nor their descriptors are lost, and they may be closed at once."""
    supervisor, worker = pair
    heard, ended = [], asyncio.Event()
    supervisor.attach(asyncio.get_running_loop(), lambda *_: None, lambda: None)
    descriptors = [os.open(os.devnull, os.O_RDONLY) for _ in range(50)]
    for number in range(2000):
        supervisor.send(opened(number), descriptors[number : number + 1])
    for descriptor in descriptors:
        os.close(descriptor)
    worker.attach(asyncio.get_running_loop(), lambda *each: heard.append(each), ended.set)
    while len(heard) < 2000:
        await asyncio.sleep(0)
    supervisor.close()
    await ended.wait()

    assert list(range(2000)) == [message.number for message, _ in heard]
    assert [1] * 50 + [0] * 1950 == [len(found) for _, found in heard]
    for _, found in heard:
        for descriptor in found:
            os.close(descriptor)


def test_the_end_is_told_once_and_what_was_said_before_is_heard(pair):
    """By `receive` as None."""
    supervisor, worker = pair
    worker.send(Leaving(why="age"))
    worker.close()

    assert (Leaving(why="age"), []) == supervisor.receive()
    assert None is supervisor.receive()
    supervisor.send(Drain())
    worker.send(Leaving(why="age"))


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\n",
        b"{}\n",
        b'{"say":"beat"}\n',
        b'{"say":"unknown"}\n',
        b'{"say":"leaving","why":"x","descriptors":1}\n',
    ],
)
def test_what_is_no_message_is_refused(data):
    """A channel on which that comes is of no use any more."""
    ours, theirs = socket.socketpair()
    channel = Channel(ours, FromWorker)
    theirs.sendall(data)
    with contextlib.closing(channel), theirs, pytest.raises(ChannelError):
        channel.receive()


def test_fields_that_another_version_has_are_skipped():
    """Workers of newer code run under a supervisor of older code."""
    ours, theirs = socket.socketpair()
    channel = Channel(ours, FromWorker)
    theirs.sendall(b'{"say":"ready","name":"x","addresses":[],"new":1}\n{"say":"beat","connections":1,"accepted":2,')
    theirs.sendall(b'"messages_in":3,"messages_out":4}\n')
    with contextlib.closing(channel), theirs:
        assert (Ready(name="x", addresses=[]), []) == channel.receive()
        assert (Beat(connections=1, accepted=2, messages_in=3, messages_out=4), []) == channel.receive()


def test_a_lack_of_the_system_is_told_to_the_sender_and_the_channel_goes_on(pair, monkeypatch):
    """Too many descriptors on their way: the other end is there, and what was not sent is not said to be."""
    supervisor, worker = pair

    def refuse(sock, data, descriptors):
        raise OSError(errno.ETOOMANYREFS, "Too many references")

    with monkeypatch.context() as patch:
        patch.setattr(socket, "send_fds", refuse)
        with pytest.raises(OSError, match="Too many"):
            supervisor.send(opened(1), [0])
    supervisor.send(Drain())

    assert (Drain(), []) == worker.receive()


async def test_an_early_end_is_logged_with_its_reason(pair, caplog):
    """Who finds that connections did not move reads why."""
    supervisor, worker = pair
    ended = asyncio.Event()
    supervisor.attach(asyncio.get_running_loop(), lambda *_: None, ended.set)
    worker._sock.sendall(b"no message\n")
    async with asyncio.timeout(10):
        await ended.wait()

    assert isinstance(supervisor.failure, ChannelError)
    assert "a channel to another process ends early" in caplog.text
