"""What the refused see, for every reason and every action, on every transport: docs/limits.md, "Who is let in"."""

import contextlib
import os
from collections import Counter

import pytest

import penstock
from penstock.address.networks import AccessList
from penstock.config import CAN_WAIT, Action
from penstock.reasons import Refusal
from penstock.testing.clock import ManualClock
from penstock.testing.peers import read_exactly, read_to_end
from penstock.units import Rate

from ..descriptors import descriptors_left

TEXT = b"come later\n"
ONE = Rate(1, 1.0)
NOBODY = AccessList(deny=("127.0.0.0/8", f"uid:{os.getuid()}"))

# What makes the gate refuse the second to come. Descriptors and memory run out by themselves. Handlers that outlive
# their peers have tests of their own, in test_orphans.py, sessions in test_sessions.py, and those who are no proxy in
# tests/engines/test_proxy.py.
RULES = {
    Refusal.DENIED: {},
    Refusal.MEMORY: {},
    Refusal.LIMIT: {"max_connections": 1},
    Refusal.PER_PEER: {"max_per_peer": 1},
    Refusal.RATE: {"accept_rate": ONE},
    Refusal.PEER_RATE: {"accept_rate_per_peer": ONE},
    Refusal.HANDSHAKES: {"max_handshakes": 1},
    Refusal.DESCRIPTORS: {},
}
assert RULES.keys() == set(Refusal) - {Refusal.OVERLOAD, Refusal.SESSIONS, Refusal.PROXY_UNTRUSTED}
NEVER = {name: None for rules in RULES.values() for name in rules} | {"access": AccessList(), "loopback_counts": True}
OF_THE_NETWORK = (Refusal.PER_PEER, Refusal.PEER_RATE)  # a Unix peer has no address to be counted by


class Shaking(penstock.Handler):
    """An echo to peers that never show who they are."""

    def on_connect(self, conn):
        conn.begin_handshake()

    def on_message(self, conn, message):
        return message


class Room:
    """A server with room for nobody but one, for one reason at a time."""

    def __init__(self, server, clock):
        self.server = server
        self.clock = clock
        self.refused = Counter()
        self._inside = None
        self._undo = contextlib.ExitStack()

    def fill(self, reason, action, text=b""):
        """Let one in, and from then on nobody."""
        gate = self.server.server.gate
        rules = NEVER | RULES[reason] | {"actions": {reason: action}, "text": text}
        self.server.call(lambda: gate.set(**rules))
        self._inside = self.server.dial()
        self._inside.sendall(b"in\n")
        assert b"in\n" == read_exactly(self._inside, 3)
        if reason is Refusal.DENIED:
            self.server.call(lambda: gate.set(access=NOBODY))
        elif reason is Refusal.MEMORY:
            self.server.call(lambda: gate.shed(True))

    def meet(self, reason, early):
        """Have somebody come who speaks before the server looks at who came; return what he sees in the end."""
        with self.come(reason, early) as peer:
            self.refused[reason] += 1
            self.server.wait_until(lambda it: it.stats.refused == self.refused)
            try:
                return read_to_end(peer)
            except ConnectionResetError:
                return "reset"

    def come(self, reason, early):
        """Return a peer that is connected and has spoken when the server looks."""
        self.server.call(self.server.server.suspend)
        peer = self.server.dial()
        if early:
            peer.sendall(early)
        if reason is Refusal.DESCRIPTORS:
            self._undo.enter_context(descriptors_left(0))
        self.server.call(self.server.server.resume)
        return peer

    def clear(self):
        """Give room again, by what took it."""
        gate = self.server.server.gate
        self._undo.close()
        self._inside.close()
        self.server.call(lambda: gate.shed(False))
        # As long as accepting rests after a failure, and as it takes until one more may come.
        self.server.call(lambda: self.clock.advance(1.0))


@pytest.fixture
def room(serve, tmp_path, scheme):
    """A server on the test's transport whose room is told."""
    bind = "tcp://127.0.0.1:0" if scheme == "tcp" else f"{scheme}:{tmp_path}/s"
    clock = ManualClock()
    with serve(penstock.as_service(Shaking, codec="lines"), bind=bind, clock=clock, threads=8) as server:
        yield Room(server, clock)


def reasons_of(scheme):
    return [reason for reason in RULES if scheme == "tcp" or reason not in OF_THE_NETWORK]


@pytest.mark.uncipherable("who is refused has no handshake")
@pytest.mark.parametrize("scheme", ["tcp", "unix", "unix+seqpacket"])
def test_the_refused_see_what_the_action_says_and_are_counted_by_reason(room, scheme, engine, tally):
    """A reset, EOF, or the text and EOF, whether or not they spoke first; Unix sockets know no reset by themselves."""
    cases = 0
    for reason in reasons_of(scheme):
        for action, text in ((Action.RESET, b""), (Action.CLOSE, b""), (Action.CLOSE, TEXT)):
            for early in (b"", b"hello\n"):
                room.fill(reason, action, text)
                seen = room.meet(reason, early)
                room.clear()
                room.server.wait_connections(0)
                cases += 1
                # What nobody has read makes the kernel of a Unix socket say so at its end.
                cut = "reset" if scheme == "tcp" or early else b""

                assert (reason, cut if action is Action.RESET else text) == (reason, seen)
    tally(
        f"T-25 {engine.label}: refusals for every reason, by every action, on every transport, seen as it says", cases
    )


@pytest.mark.uncipherable("who is refused has no handshake")
@pytest.mark.parametrize("scheme", ["tcp", "unix", "unix+seqpacket"])
def test_with_wait_whoever_comes_sees_nothing_and_is_served_when_there_is_room(room, scheme, engine):
    """For every reason that is known before accept(2); nobody is refused."""
    for reason in (each for each in RULES if each in CAN_WAIT):
        room.fill(reason, Action.WAIT)
        with room.come(reason, b"hello\n") as peer:
            if reason is Refusal.DESCRIPTORS:
                room.server.wait_until(lambda it: it.stats.accept_errors["EMFILE"] == 1)
            in_vain = room.server.server.stats.accepted
            room.clear()

            assert (reason, b"hello\n") == (reason, read_exactly(peer, 6))
        room.server.wait_connections(0)

        assert in_vain + 1 == room.server.server.stats.accepted
    assert 0 == room.server.server.stats.refused.total()
