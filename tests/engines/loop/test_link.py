"""A socket that is read as the loop says."""

import asyncio
import socket

import pytest

from penstock.engines.pure.link import StreamLink


@pytest.mark.parametrize("wanted", [True, False])
async def test_a_link_that_could_not_change_how_it_is_read_is_read_as_before(monkeypatch, wanted):
    """Where the loop has no memory for that: it still knows the socket, and forgets it when reading pauses."""
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    link = StreamLink(loop, ours, None, memoryview(bytearray(1024)))
    link.resume_reading()

    def fails(*_):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(loop, "add_reader", fails)
        with pytest.raises(MemoryError):
            link.take_turns(wanted=wanted)
    link.pause_reading()

    assert not loop.remove_reader(ours.fileno())
    ours.close()
    theirs.close()
