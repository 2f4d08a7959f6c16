"""What a server of a loop does again when it has failed: a place is given up once, and only once."""

import pytest

from penstock import on_message
from penstock.core.gate import Gate
from penstock.testing.peers import dial
from penstock.testing.thread import ServerThread


@pytest.mark.parametrize("failing", [1, 2])
def test_a_place_that_could_not_be_given_up_is_given_up_later(monkeypatch, failing):
    """The gate says that nothing has changed: it is told again, with the end of the connection."""
    attempts = []
    leave = Gate.leave

    def without_memory(self, peer, **options):
        attempts.append(peer)
        if len(attempts) <= failing:
            raise MemoryError
        leave(self, peer, **options)

    monkeypatch.setattr(Gate, "leave", without_memory)
    with ServerThread(on_message(codec="lines")(lambda message: message), engine="pure") as server:
        with dial(server.server.addresses[0]) as peer:
            peer.sendall(b"x\n")
            assert b"x\n" == peer.recv(100)
            assert 1 == server.server.gate.open
        server.wait_until(lambda served: not served.gate.open)

    assert failing + 1 == len(attempts)
