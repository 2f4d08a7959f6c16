"""An endpoint of datagrams when the loop has no memory to poll its socket."""

import socket

import pytest

from penstock.address import parse_address
from penstock.codecs import Raw
from penstock.core.gate import Gate
from penstock.engines.accept import ACCEPT_BACKOFF_S
from penstock.engines.listener import Listener
from penstock.engines.loop.datagrams import LoopEndpoint
from penstock.testing.clock import ManualClock


class Loop:
    """As much of a loop as an endpoint asks: what is polled; so many attempts to poll find no memory."""

    def __init__(self, failing):
        self.failing = failing
        self.polled = set()

    def add_reader(self, sock, callback):
        if self.failing:
            self.failing -= 1
            raise MemoryError
        self.polled.add(sock)

    def remove_reader(self, sock):
        self.polled.discard(sock)


@pytest.mark.parametrize("failing", [0, 1, 3])
def test_a_socket_that_could_not_be_polled_is_polled_soon(failing):
    """Nothing else would ever have it read: a task that has ended may have been the last."""
    clock, loop = ManualClock(), Loop(failing)
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        address = parse_address(f"udp://127.0.0.1:{sock.getsockname()[1]}")
        endpoint = LoopEndpoint(
            loop,
            Listener(sock, address, address),
            None,
            Raw(),
            gate=Gate(),
            clock=clock,
            emit=print,
            own=(),
            idle=print,
        )
        endpoint.start()
        at_first = len(loop.polled)
        clock.advance(4 * ACCEPT_BACKOFF_S)

        assert (0 if failing else 1) == at_first
        assert {sock} == loop.polled
        assert 0 == clock.pending
