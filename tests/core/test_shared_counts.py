"""Gates of several processes that count together decide as one gate would that sees everybody."""

import contextlib
import mmap
import os
import select

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.address import Peer
from penstock.address.networks import AccessList
from penstock.config import Action
from penstock.core import shared_counts
from penstock.core.gate import Gate
from penstock.core.rules import Rules
from penstock.core.shared_counts import SharedCounts
from penstock.reasons import Refusal
from penstock.units import Rate
from penstock.workers import cells
from penstock.workers.cells import AVAILABLE, Cells, WorkerMemory

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="no memory without a name here")

PEERS = [Peer((f"192.0.2.{number}", 1), 2) for number in range(4)]


class Woken:
    """As much of a loop as a memory needs."""

    def __init__(self):
        self.readers = {}

    def call_soon_threadsafe(self, callback, *arguments):
        callback(*arguments)

    def add_reader(self, descriptor, callback, *arguments):
        self.readers[descriptor] = lambda: callback(*arguments)

    def remove_reader(self, descriptor):
        del self.readers[descriptor]

    def turn(self):
        """Call those whose descriptors are readable."""
        for descriptor in select.select([*self.readers], (), (), 0)[0]:
            self.readers[descriptor]()


@contextlib.contextmanager
def together(number, most_here=None, **options):
    """Yield what some workers count with, and the cells; worker ``n`` is process ``n``."""
    made = Cells(**options)
    try:
        loops = [Woken() for _ in range(number)]
        memories = [
            WorkerMemory([os.dup(each) for each in made.descriptors], made.give(pid), loop)
            for pid, loop in enumerate(loops)
        ]
        gates = [Gate() for _ in memories]
        for gate, memory in zip(gates, memories, strict=True):
            gate.share(SharedCounts(memory, most_here, gate.wake))
        yield gates, made, loops
        for memory in memories:
            memory.close()
            for descriptor in (memory._descriptor, memory._wakes):
                os.close(descriptor)
    finally:
        made.close()


RULES = st.builds(
    Rules,
    max_connections=st.none() | st.integers(1, 6),
    max_per_peer=st.none() | st.integers(1, 3),
    max_handshakes=st.none() | st.integers(1, 3),
    accept_rate=st.none() | st.builds(Rate, st.integers(1, 4), st.just(1.0)),
    accept_rate_per_peer=st.none() | st.builds(Rate, st.integers(1, 3), st.just(1.0)),
)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["admit", "leave", "part", "time", "shake", "shook"]), st.integers(0, 2), st.integers(0, 3)
    ),
    max_size=60,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(rules=RULES, steps=STEPS)
def test_several_gates_decide_as_one(rules, steps):
    """Whatever the order in which peers come, wherever they come, and leave: no limit is passed, and nobody is refused
    whom one gate would let in."""
    one = Gate(rules)
    with together(3) as (gates, _, _):
        for gate in gates:
            gate.begin(rules)
        now, inside, shaking = 1000.0, [], []
        for what, where, number in steps:
            if what == "admit":
                expected, actual = one.admit(PEERS[number], now), gates[where].admit(PEERS[number], now)
                assert expected == actual
                if actual is None:
                    inside.append([gates[where], PEERS[number], False])
            elif what == "time":
                now += 0.1 + number / 4
            elif what == "shake":
                shaking.append((one.begin_handshake(now), gates[where].begin_handshake(now)))
            elif what == "shook" and shaking:
                for handshake in shaking.pop(number % len(shaking)):
                    handshake.end()
            elif what == "part" and inside and not (found := inside[number % len(inside)])[2]:
                found[2] = True
                one.part(found[1])
                found[0].part(found[1])
            elif what == "leave" and inside:
                gate, peer, orphan = inside.pop(number % len(inside))
                one.leave(peer, orphan=orphan)
                gate.leave(peer, orphan=orphan)
            assert {(one.open, one.handshakes)} == {(gate.open, gate.handshakes) for gate in gates}
            assert [one.open_of(peer) for peer in PEERS] == [gates[where].open_of(peer) for peer in PEERS]


def test_a_process_that_is_gone_leaves_its_places():
    """Once its cell was cleared, which whoever has a new one finds empty."""
    with together(2) as (gates, made, _):
        for gate in gates:
            gate.begin(Rules(max_connections=2, max_per_peer=2))
        assert [None, None] == [gates[0].admit(PEERS[0], 0.0), gates[0].admit(PEERS[0], 0.0)]
        assert Refusal.LIMIT is gates[1].admit(PEERS[1], 0.0)
        made.take_back(0)

        assert None is gates[1].admit(PEERS[0], 0.0)
        assert (1, 1) == (gates[1].open, gates[1].open_of(PEERS[0]))
        assert 0 == made.give(7)
        assert 1 == gates[1].open


def test_a_process_has_a_bound_of_its_own_beside():
    """Descriptors are not shared: where one process has no more of them the others have."""
    with together(2, most_here=1) as (gates, _, _):
        for gate in gates:
            gate.begin(Rules(max_connections=9))

        assert [None, Refusal.LIMIT] == [gates[0].admit(PEERS[0], 0.0) for _ in range(2)]
        assert None is gates[1].admit(PEERS[0], 0.0)


def test_keys_that_were_there_once_make_room():
    """A cell holds many more addresses one after the other than at once; where there are too many at once those beyond
    are counted by their own process."""
    peers = [Peer((f"198.51.100.{number}", 1), 2) for number in range(200)]
    with together(2, keys=8) as (gates, _, _):
        for gate in gates:
            gate.begin(Rules(max_per_peer=1))
        assert None is gates[0].admit(PEERS[0], 0.0)
        for peer in peers:
            assert None is gates[0].admit(peer, 0.0)
            assert Refusal.PER_PEER is gates[1].admit(peer, 0.0)
            gates[0].leave(peer)
            assert 0 == gates[1].open_of(peer)
        assert Refusal.PER_PEER is gates[1].admit(PEERS[0], 0.0)

        for peer in peers[:10]:
            assert None is gates[0].admit(peer, 0.0)
            assert Refusal.PER_PEER is gates[0].admit(peer, 0.0)
        for peer in peers[:10]:
            gates[0].leave(peer)
        assert [0] * 10 == [gates[1].open_of(peer) for peer in peers[:10]]


def test_keys_of_a_rate_make_room(monkeypatch):
    """Those that were let in longest ago are forgotten, as in one process."""
    monkeypatch.setattr(shared_counts, "RATE_KEYS", 256)
    monkeypatch.setattr(cells, "_GENERATION_BYTES", mmap.PAGESIZE)
    rules = Rules(accept_rate_per_peer=Rate(1, 10.0))
    with together(2) as (gates, _, _):
        for gate in gates:
            gate.begin(rules)
        peers = [Peer((f"198.51.{number // 200}.{number % 200}", 1), 2) for number in range(257)]

        for number, peer in enumerate(peers):
            assert None is gates[number % 2].admit(peer, 0.0)
            assert Refusal.PEER_RATE is gates[1 - number % 2].admit(peer, 0.0)
        assert None is gates[0].admit(peers[0], 0.0)


WAITING = {Refusal.LIMIT: Action.WAIT, Refusal.RATE: Action.WAIT}


def test_of_two_that_see_the_last_place_one_has_it():
    """With the action `wait` a place is taken before accept(2): what was accepted cannot be put back."""
    with together(2) as (gates, _, loops):
        for gate in gates:
            gate.begin(Rules(max_connections=1, actions=WAITING))
        assert [True, True] == [gate.opens_at(0.0) <= 0.0 for gate in gates]
        assert [True, False] == [gate.hold_place(0.0) for gate in gates]
        assert gates[0].hold_place(0.0)
        assert float("inf") == gates[1].opens_at(0.0)
        assert None is gates[0].admit(PEERS[0], 0.0)
        gates[0].let_go()

        looked = []
        gates[1].watch(lambda: looked.append(gates[1].opens_at(0.0)))
        (reader,) = loops[1].readers.values()
        gates[0].leave(PEERS[0])
        reader()
        assert [0.0] == looked
        assert not loops[1].readers


def test_no_process_takes_the_wake_up_of_another():
    """One that is woken and has no use for the place looks at once, however often; the other one may look later."""
    with together(3) as (gates, _, loops):
        looked = []
        for name, gate in enumerate(gates):
            gate.begin(Rules(max_connections=1, actions=WAITING))
            gate.watch(lambda name=name: looked.append(name))
        assert None is gates[2].admit(PEERS[0], 0.0)
        assert [float("inf")] * 2 == [gate.opens_at(0.0) for gate in gates[:2]]
        gates[2].leave(PEERS[0])
        for _ in range(3):
            loops[0].turn()
        loops[1].turn()

        assert {0, 1} == {*looked}


def test_a_place_that_was_held_for_nobody_is_told_of():
    """Nobody was there to be accepted: who waits elsewhere is woken."""
    with together(2) as (gates, _, loops):
        for gate in gates:
            gate.begin(Rules(max_connections=1, actions=WAITING))
        assert gates[0].hold_place(0.0)
        assert float("inf") == gates[1].opens_at(0.0)
        (reader,) = loops[1].readers.values()
        gates[0].let_go()
        reader()

        assert gates[1].hold_place(0.0)


def test_a_token_is_taken_before_accept_and_given_back():
    """A rate whose peers wait is not passed by two who see the same token."""
    with together(2) as (gates, _, _):
        for gate in gates:
            gate.begin(Rules(accept_rate=Rate(1, 1.0), actions=WAITING))
        assert [True, False] == [gate.hold_place(10.0) for gate in gates]
        gates[0].let_go()
        assert [True, False] == [gate.hold_place(10.0) for gate in reversed(gates)]
        assert None is gates[1].admit(PEERS[0], 10.0)

        assert [False, False] == [gate.hold_place(10.5) for gate in gates]
        assert gates[0].hold_place(11.0)


def test_a_client_of_a_proxy_counts_in_every_process():
    """Under its own key and no longer under the proxy's; a place that is held for the next one stays held."""
    proxy, client = Peer(("198.51.100.1", 1), 2), PEERS[0]
    rules = Rules(max_connections=3, max_per_peer=1, actions=WAITING)
    with together(2) as (gates, _, _):
        for gate in gates:
            gate.begin(rules)
        access = AccessList(["198.51.100.1"])
        assert [None, None] == [gate.admit(proxy, 0.0, access) for gate in gates]
        assert gates[0].hold_place(0.0)
        assert [None, Refusal.PER_PEER] == [gate.introduce(proxy, client, 0.0) for gate in gates]
        assert gates[1].opens_at(0.0) == float("inf")  # two are in, and one place is held

        gates[0].let_go()
        for gate in gates:
            gate.leave(client)

        assert [0, 0] == [gate.open for gate in gates]
        assert [0, 0] == [gate.counts.of_key(client.host) for gate in gates]
