"""Admission, as decisions on peers and instants that are told: exact counts, one reason each, nothing lost."""

import math
import socket
import struct
from collections import Counter
from ipaddress import IPv4Address

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from penstock.address import Peer
from penstock.address.networks import AccessList
from penstock.config import CAN_WAIT, Action
from penstock.core.counts import Counts
from penstock.core.gate import Gate
from penstock.core.gate_state import MAX_KNOWN
from penstock.core.rules import Rules
from penstock.errors import ConfigurationError
from penstock.reasons import Refusal
from penstock.units import Rate

NOW = 1000.0


def ipv4(host, port=1):
    return Peer((host, port), socket.AF_INET)


def ipv6(host, port=1):
    return Peer((host, port, 0, 0), socket.AF_INET6)


def unix(uid=0, gid=0):
    return Peer("", socket.AF_UNIX, struct.pack("=iII", 1, uid, gid))


def outcome(gate, *peers):
    return [gate.admit(peer, NOW) for peer in peers]


def test_a_gate_without_rules_lets_everybody_in():
    """And counts them all the same."""
    gate = Gate()

    assert [None, None, None] == outcome(gate, ipv4("192.0.2.1"), ipv6("2001:db8::1"), unix())
    assert 3 == gate.open
    assert NOW == gate.opens_at(NOW)


def test_exactly_so_many_get_in_and_the_next_one_when_one_has_left():
    """The limit is a number, not a hint (T-25: overshoot 0)."""
    gate = Gate(Rules(max_connections=3))

    assert [None, None, None, Refusal.LIMIT, Refusal.LIMIT] == outcome(gate, *[ipv4("192.0.2.1")] * 5)
    gate.leave(ipv4("192.0.2.1"))
    assert [None, Refusal.LIMIT] == outcome(gate, *[ipv4("192.0.2.2")] * 2)
    assert {Refusal.LIMIT: 3} == gate.refused


@pytest.mark.parametrize(
    ("same", "other"),
    [
        ([ipv4("192.0.2.1", 1), ipv4("192.0.2.1", 2)], ipv4("192.0.2.2")),
        ([ipv4("192.0.2.1"), ipv6("::ffff:192.0.2.1")], ipv6("::ffff:192.0.2.2")),
        ([ipv6("2001:db8::1"), ipv6("2001:db8::ffff:2")], ipv6("2001:db8:0:1::1")),
        ([ipv6("fe80::1"), Peer(("fe80::2", 1, 0, 1), socket.AF_INET6)], ipv6("fe80:0:0:1::1")),
    ],
)
def test_a_peer_is_its_ipv4_address_or_its_ipv6_network(same, other):
    """One IPv4 address whatever it is dressed in; 64 bits of an IPv6 one (T-26)."""
    gate = Gate(Rules(max_per_peer=1))

    assert [None, Refusal.PER_PEER, None] == outcome(gate, *same, other)


def test_prefixes_can_be_set():
    """Wider networks count as one where the operator says so, narrower ones as many."""
    gate = Gate(Rules(max_per_peer=1, ipv4_prefix=24, ipv6_prefix=128))

    assert [None, Refusal.PER_PEER, None] == outcome(gate, ipv4("192.0.2.1"), ipv4("192.0.2.9"), ipv4("192.0.3.1"))
    assert [None, None] == outcome(gate, ipv6("2001:db8::1"), ipv6("2001:db8::2"))


def test_unix_peers_are_not_counted_by_address():
    """They have none: a proxy on this machine is one of them, and stands for all of its clients."""
    gate = Gate(Rules(max_per_peer=1, accept_rate_per_peer=Rate(1, 60.0)))

    assert [None] * 5 == outcome(gate, *[unix()] * 5)


def test_loopback_peers_are_spared_where_the_rule_says_so():
    """The limit that nobody asked for must not stop a proxy or a test on this machine."""
    gate = Gate(Rules(max_per_peer=1, loopback_counts=False))

    assert [None] * 6 == outcome(gate, *[ipv4("127.0.0.1"), ipv6("::1"), ipv6("::ffff:127.0.0.5")] * 2)
    assert [None, Refusal.PER_PEER] == outcome(gate, *[ipv4("192.0.2.1")] * 2)


def test_who_may_not_connect_is_refused_before_anything_else_is_looked_at():
    """A stranger learns nothing about how full the server is."""
    gate = Gate(Rules(max_connections=1, access=AccessList(deny=["192.0.2.0/24", "uid:7"])))

    assert [None] == outcome(gate, ipv4("198.51.100.1"))
    assert [Refusal.DENIED, Refusal.DENIED] == outcome(gate, ipv4("192.0.2.1"), unix(uid=7))
    assert [Refusal.LIMIT] == outcome(gate, unix(uid=8))


def test_the_accept_rate_is_a_burst_and_then_an_even_flow():
    """Two a second: two at once, one more after half a second."""
    gate = Gate(Rules(accept_rate=Rate(2)))

    assert [None, None, Refusal.RATE] == outcome(gate, *[ipv4("192.0.2.1")] * 3)
    assert Refusal.RATE is gate.admit(ipv4("192.0.2.1"), NOW + 0.4)
    assert gate.admit(ipv4("192.0.2.1"), NOW + 0.5) is None


def test_a_peer_over_its_own_rate_uses_up_nothing_of_the_others():
    """One flooding address does not empty the bucket of all."""
    gate = Gate(Rules(accept_rate=Rate(3), accept_rate_per_peer=Rate(1)))

    assert [None] + [Refusal.PEER_RATE] * 10 == outcome(gate, *[ipv4("192.0.2.1")] * 11)
    assert [None, None, Refusal.RATE] == outcome(gate, *[ipv4(f"192.0.2.{host}") for host in (2, 3, 4)])


def test_handshakes_that_are_not_over_are_limited():
    """Whoever connects and says nothing takes none of the places of those who speak."""
    gate = Gate(Rules(max_handshakes=1))
    gate.admit(ipv4("192.0.2.1"), NOW)
    handshake = gate.begin_handshake(NOW)

    assert [Refusal.HANDSHAKES] == outcome(gate, ipv4("192.0.2.2"))
    handshake.end()
    assert [None] == outcome(gate, ipv4("192.0.2.2"))
    assert {Refusal.HANDSHAKES: 1} == gate.refused


def test_no_more_are_to_be_taken_at_once_than_may_begin_a_handshake():
    """They are counted when their handlers run; at the limit there is nothing to overshoot, for nobody is let in."""
    gate = Gate(Rules(max_handshakes=3))
    found = []
    for _ in range(4):
        found.append(gate.at_once(16))
        gate.begin_handshake(NOW)

    assert [3, 2, 1, 16] == found
    assert (2, 16) == (Gate(Rules(max_handshakes=3)).at_once(2), Gate().at_once(16))


def test_a_handshakes_place_is_given_back_once_however_often_its_end_is_told():
    """Done, then late, then reset, then stopped: an engine need not know which of them came first."""
    gate = Gate(Rules(max_handshakes=2))
    handshakes = [gate.begin_handshake(NOW) for _ in range(2)]
    for _ in range(4):
        handshakes[0].end()

    assert 1 == gate.handshakes
    handshakes[1].end()
    assert 0 == gate.handshakes


class Interrupted(Counts):
    """Counts within whose calls a signal handler runs, as it may at the beginning of any function."""

    __slots__ = ("handler",)

    def __init__(self):
        super().__init__()
        self.handler = None

    def begin_handshake(self):
        self._interrupt()
        super().begin_handshake()

    def end_handshake(self):
        self._interrupt()
        super().end_handshake()

    def _interrupt(self):
        handler, self.handler = self.handler, None
        if handler is not None:
            handler()


def test_a_handshake_that_a_signal_handler_ends_while_it_ends_is_ended_once():
    """The handler may end its connection, say."""
    gate = Gate()
    gate.counts = Interrupted()
    handshake = gate.begin_handshake(NOW)
    gate.counts.handler = handshake.end
    handshake.end()

    assert 0 == gate.handshakes


def test_a_handshake_whose_end_fails_is_ended_by_the_next_one_who_tells_of_it():
    """There was no memory, say."""
    gate = Gate()
    gate.counts = Interrupted()
    handshake = gate.begin_handshake(NOW)

    def fail():
        raise MemoryError

    gate.counts.handler = fail
    with pytest.raises(MemoryError):
        handshake.end()

    assert 1 == gate.handshakes
    handshake.end()
    assert 0 == gate.handshakes


def test_the_end_of_a_handshake_opens_a_gate_that_waits_for_it():
    """Those who look after the backlog are told; where nobody waits, nobody is."""
    for actions, told in (({Refusal.HANDSHAKES: Action.WAIT}, 1), ({}, 0)):
        gate, heard = Gate(Rules(max_handshakes=1, actions=actions)), []
        handshake = gate.begin_handshake(NOW)
        gate.watch(lambda gate=gate, heard=heard: heard.append(gate.opens_at(NOW)))
        handshake.end()
        handshake.end()

        assert [NOW] * told == heard


@pytest.mark.parametrize("action", [Action.RESET, Action.CLOSE, Action.WAIT])
def test_what_those_see_who_come_while_too_many_shake_hands_is_a_setting(action):
    """Like any other reason's."""
    gate = Gate(Rules(max_handshakes=1, actions={Refusal.HANDSHAKES: action}))

    assert action is gate.rules.action(Refusal.HANDSHAKES)


RESERVED = AccessList(("127.0.0.9", "uid:7"))


def test_the_reserve_is_for_those_it_is_kept_for_and_for_nobody_else():
    """Full is full for all others, and they take none of its places; beyond it its peers are as everybody else."""
    gate = Gate(Rules(max_connections=2, reserve=2, reserve_for=RESERVED))
    others = [ipv4("192.0.2.1"), ipv4("192.0.2.2"), ipv4("192.0.2.3"), unix(8)]

    assert [None, None, Refusal.LIMIT, Refusal.LIMIT] == outcome(gate, *others)
    assert [None, None, Refusal.LIMIT] == outcome(gate, ipv4("127.0.0.9"), unix(7), ipv4("127.0.0.9"))
    gate.leave(unix(7))
    assert [Refusal.LIMIT, None] == outcome(gate, ipv4("192.0.2.3"), ipv4("127.0.0.9"))
    gate.leave(ipv4("192.0.2.1"))
    assert [None, Refusal.LIMIT] == outcome(gate, ipv4("127.0.0.9"), ipv4("192.0.2.3"))
    assert (4, 3) == (gate.open, gate.reserved)


@pytest.mark.parametrize(
    ("rules", "spoil"),
    [
        ({"max_connections": 1}, None),
        ({"max_per_peer": 1}, None),
        ({"accept_rate": Rate(1, 3600.0)}, None),
        ({"accept_rate_per_peer": Rate(1, 3600.0)}, None),
        ({"max_handshakes": 1}, lambda gate: gate.begin_handshake(NOW)),
        ({}, lambda gate: gate.shed(True)),
    ],
)
def test_within_the_reserve_nothing_but_access_is_asked(rules, spoil):
    """Whatever keeps the others out; and the reserve takes nothing of what the others may."""
    gate = Gate(Rules(reserve=2, reserve_for=RESERVED, **rules))
    if spoil is not None:
        spoil(gate)
    else:
        gate.admit(ipv4("127.0.0.9"), NOW)
        assert gate.admit(ipv4("192.0.2.1"), NOW) is None

    assert gate.admit(ipv4("127.0.0.9"), NOW) is None
    assert gate.admit(ipv4("192.0.2.1"), NOW) is not None


def test_the_reserve_does_not_open_what_is_denied():
    """Who may not connect may not connect."""
    gate = Gate(Rules(access=AccessList((), ("127.0.0.0/8",)), reserve=1, reserve_for=RESERVED))

    assert [Refusal.DENIED] == outcome(gate, ipv4("127.0.0.9"))


def test_the_size_of_the_reserve_can_be_changed():
    """Those who are in stay; fewer places than are taken leave none."""
    gate = Gate(Rules(max_connections=1, reserve=1, reserve_for=RESERVED))
    gate.admit(ipv4("192.0.2.1"), NOW)

    assert [None, Refusal.LIMIT] == outcome(gate, *[ipv4("127.0.0.9")] * 2)
    gate.set(reserve=2)
    assert [None, Refusal.LIMIT] == outcome(gate, *[ipv4("127.0.0.9")] * 2)
    gate.set(reserve=0)
    assert [Refusal.LIMIT] == outcome(gate, ipv4("127.0.0.9"))


def test_where_the_refused_wait_there_is_no_reserve():
    """The backlog is one queue: a health check would wait in it behind them."""
    with pytest.raises(ConfigurationError, match="a reserve is of no use where the refused wait"):
        Rules(reserve=1, reserve_for=RESERVED, actions={Refusal.LIMIT: Action.WAIT})


def test_as_many_as_the_reserve_has_places_are_spared_when_memory_is_short():
    """The first of them: the others of the same network are as everybody else."""

    class Connection:
        def __init__(self, peer):
            self.peer = peer

    crowd = [Connection(peer) for peer in [ipv4("192.0.2.1"), ipv4("127.0.0.9", 1), unix(7), ipv4("127.0.0.9", 2)]]
    gate = Gate(Rules(reserve=2, reserve_for=RESERVED))

    assert [crowd[0], crowd[3]] == gate.unreserved(crowd)
    assert crowd == Gate(Rules(reserve=2)).unreserved(crowd)


def test_a_gate_that_sheds_lets_nobody_in_until_it_does_no_longer():
    """Memory decides for all; the watchers hear of both changes, once each."""
    gate, heard = Gate(), []
    gate.watch(lambda: heard.append(gate.shedding))
    gate.shed(True)
    gate.shed(True)

    assert [Refusal.MEMORY] == outcome(gate, ipv4("192.0.2.1"))
    gate.shed(False)
    assert [None] == outcome(gate, ipv4("192.0.2.1"))
    assert [True, False] == heard


@pytest.mark.parametrize(
    ("reason", "rules", "fill"),
    [
        (Refusal.LIMIT, {"max_connections": 1}, lambda gate: gate.admit(ipv4("192.0.2.1"), NOW)),
        (Refusal.HANDSHAKES, {"max_handshakes": 1}, lambda gate: gate.begin_handshake(NOW)),
        (Refusal.MEMORY, {}, lambda gate: gate.shed(True)),
    ],
)
def test_with_wait_the_gate_stays_shut_until_there_is_room(reason, rules, fill):
    """And with any other action it is open, so that those who come can be refused."""
    waiting = Gate(Rules(actions={reason: Action.WAIT}, **rules))
    refusing = Gate(Rules(**rules))
    for gate in (waiting, refusing):
        assert NOW == gate.opens_at(NOW)
        fill(gate)

    assert float("inf") == waiting.opens_at(NOW)
    assert NOW == refusing.opens_at(NOW)


def test_with_wait_the_gate_says_when_the_rate_allows_the_next():
    """So that an engine sets one timer and does not poll."""
    gate = Gate(Rules(accept_rate=Rate(2, 10.0), actions={Refusal.RATE: Action.WAIT}))
    outcome(gate, ipv4("192.0.2.1"), ipv4("192.0.2.1"))

    assert pytest.approx(NOW + 5.0) == gate.opens_at(NOW)
    assert NOW + 6.0 == gate.opens_at(NOW + 6.0)


@pytest.mark.parametrize("reason", sorted(set(Refusal) - CAN_WAIT))
def test_who_is_known_only_after_accept_cannot_wait(reason):
    """The backlog is one queue: whoever waits in it holds up all behind."""
    with pytest.raises(ConfigurationError, match="cannot wait in the backlog"):
        Rules(actions={reason: Action.WAIT})


@pytest.mark.parametrize("name", ["max_connections", "max_per_peer", "max_handshakes"])
def test_a_limit_of_none_at_all_is_refused(name):
    """Zero looks like "off" and would mean "nobody"."""
    with pytest.raises(ConfigurationError, match=f"{name} is 0: at least 1, or None for no limit"):
        Rules(**{name: 0})


def test_rules_change_while_connections_are_open():
    """Those who are in stay and count; the next one meets the new rule."""
    gate, told = Gate(), []
    gate.watch(lambda: told.append(gate.rules.max_per_peer))
    outcome(gate, *[ipv4("192.0.2.1")] * 3)
    gate.set(max_per_peer=3)

    assert [Refusal.PER_PEER, None] == outcome(gate, ipv4("192.0.2.1"), ipv4("192.0.2.2"))
    gate.set(max_per_peer=None)
    assert [None] == outcome(gate, ipv4("192.0.2.1"))
    assert [3, None] == told


def test_what_is_set_before_the_start_holds_after_it():
    """Whatever the configuration says; what it says beside that holds as well."""
    gate = Gate()
    gate.set(max_per_peer=1, ipv4_prefix=24)
    gate.begin(Rules(max_per_peer=3, max_connections=2))

    assert [None, Refusal.PER_PEER] == outcome(gate, ipv4("192.0.2.1"), ipv4("192.0.2.2"))
    assert [None, Refusal.LIMIT] == outcome(gate, ipv4("192.0.3.1"), ipv4("192.0.4.1"))
    with pytest.raises(ConfigurationError, match="ipv4_prefix is set at the start"):
        gate.set(ipv4_prefix=16)


def test_what_was_set_and_what_is_configured_may_contradict_each_other():
    """Then the start says so, and nothing has changed."""
    gate = Gate()
    gate.set(reserve=1, reserve_for=AccessList(["10.0.0.0/8"]))
    before = gate.rules
    with pytest.raises(ConfigurationError, match="a reserve is of no use where the refused wait"):
        gate.begin(Rules(actions={Refusal.LIMIT: Action.WAIT}))

    assert before is gate.rules


def test_who_waits_is_told_of_a_place_that_became_free_elsewhere():
    """The counts are an object of their own, and may hold more than this gate has written."""
    counts, heard = Counts(), []
    gate = Gate(Rules(max_connections=2, actions={Refusal.LIMIT: Action.WAIT}), counts)
    counts.enter("another process", 0)
    gate.watch(lambda: heard.append(gate.opens_at(NOW)))
    outcome(gate, ipv4("192.0.2.1"))
    assert math.inf == gate.opens_at(NOW)
    counts.leave("another process", 0)
    gate.wake()

    assert [NOW] == heard


def test_who_waits_no_longer_is_not_told():
    """An engine that has ended is woken by nobody; to say so twice is no mistake."""
    gate, heard = Gate(), []
    watcher = heard.append
    gate.watch(lambda: heard.append("other"))
    gate.watch(watcher)
    gate.unwatch(watcher)
    gate.unwatch(watcher)
    gate.wake()

    assert ["other"] == heard


def test_a_rate_that_stays_is_as_used_up_as_it_was():
    """Whatever else changes; one that changes begins anew."""
    gate = Gate(Rules(accept_rate=Rate(1), accept_rate_per_peer=Rate(2)))
    assert [None, Refusal.RATE] == outcome(gate, ipv4("192.0.2.1"), ipv4("192.0.2.2"))
    gate.set(accept_rate_per_peer=Rate(1))

    assert [Refusal.RATE] == outcome(gate, ipv4("192.0.2.1"))
    gate.set(accept_rate=Rate(2))
    assert [None, Refusal.PEER_RATE] == outcome(gate, ipv4("192.0.2.1"), ipv4("192.0.2.1"))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"max_conections": 1}, "unknown name max_conections; known are max_connections, max_per_peer"),
        ({"max_connections": 0}, "at least 1"),
        ({"ipv4_prefix": 24}, "ipv4_prefix is set at the start"),
        ({"reserve_for": AccessList(("127.0.0.9",))}, "reserve_for is set at the start"),
        ({"max_connections": "15"}, "max_connections is '15': at least 1"),
        ({"accept_rate": "10/s"}, "accept_rate is '10/s': a Rate, or None"),
        ({"access": ["192.0.2.0/24"]}, "an AccessList"),
        ({"actions": {"limit": "wait"}}, "an Action for each Refusal"),
        ({"text": "sorry"}, "text is 'sorry': bytes"),
    ],
)
def test_a_wrong_change_changes_nothing(changes, problem):
    """All or nothing, and the error says why."""
    gate = Gate(Rules(max_per_peer=5))
    with pytest.raises(ConfigurationError, match=problem):
        gate.set(max_per_peer=6, **changes)

    assert 5 == gate.rules.max_per_peer


def test_who_was_judged_is_judged_again_by_new_rules():
    """What is remembered of an address goes with the rules that it was judged by."""
    gate = Gate(Rules(access=AccessList(deny=["192.0.2.0/24"])))
    before = [gate.admit(peer, NOW) for peer in (ipv4("192.0.2.1"), ipv4("198.51.100.1"))]
    gate.set(access=AccessList(deny=["198.51.100.0/24"]))
    after = [gate.admit(peer, NOW) for peer in (ipv4("192.0.2.1"), ipv4("198.51.100.1"))]

    assert [Refusal.DENIED, None] == before
    assert [None, Refusal.DENIED] == after


def test_a_flood_of_addresses_is_not_remembered():
    """Of however many a bounded number is, and each is judged rightly."""
    gate = Gate(Rules(access=AccessList(deny=["10.128.0.0/9"]), max_per_peer=1))
    for number in range(3 * MAX_KNOWN):
        host = str(IPv4Address((10 << 24) + number * 1024))
        denied = number * 1024 >= 1 << 23

        assert (Refusal.DENIED if denied else None) is gate.admit(ipv4(host), NOW)
        if not denied:
            gate.leave(ipv4(host))

    assert MAX_KNOWN >= len(gate._known)
    assert 0 == gate.open == len(gate.counts._of_key)


def test_datagrams_are_judged_by_the_same_networks_and_by_a_rate_of_their_own():
    """One list for all transports; what is refused is counted with the rest (T-85 to T-90)."""
    gate = Gate(Rules(access=AccessList(deny=["192.0.2.9"]), datagram_rate_per_peer=Rate(2)))

    assert gate.judges_datagrams
    assert [None, None, Refusal.PEER_RATE] == [gate.admit_datagram(ipv4("192.0.2.1"), NOW) for _ in range(3)]
    assert Refusal.DENIED is gate.admit_datagram(ipv4("192.0.2.9"), NOW)
    assert gate.admit_datagram(unix(), NOW) is None
    assert 0 == gate.open


def test_without_such_rules_a_datagram_is_not_even_looked_at():
    """The hot path asks one flag."""
    assert not Gate(Rules(max_connections=1, accept_rate=Rate(1))).judges_datagrams


@pytest.mark.parametrize(
    ("question", "answers", "size", "amplifies"),
    [(0, 1, 56, False), (0, 1, 57, True), (100, 1, 356, False), (100, 1, 357, True), (0, 3, 0, False), (0, 4, 0, True)],
)
def test_answers_are_held_to_a_multiple_of_the_question_headers_included(question, answers, size, amplifies):
    """Three times 28 + n bytes on the wire, in however many datagrams (T-88)."""
    gate = Gate(Rules(datagram_amplification=3))

    assert amplifies is gate.amplifies(question, answers, size)
    assert not Gate().amplifies(question, answers, size)


@pytest.mark.parametrize(
    ("peer", "local"),
    [
        (ipv4("127.0.0.9"), True),
        (ipv6("::1"), True),
        (ipv6("::ffff:127.0.0.1"), True),
        (unix(), True),
        (ipv4("192.0.2.1"), False),
        (ipv6("2001:db8::1"), False),
    ],
)
def test_only_addresses_that_nobody_can_forge_from_outside_are_local(peer, local):
    """The kernel drops what comes from outside and claims to be from here."""
    assert local is Gate.is_local(peer)


def counts(gate):
    return gate.open, gate.reserved, dict(gate.counts._of_key), dict(gate.refused)


def with_each_allocation_failing(gate, call):
    """Yield the counts after ``call`` has failed for want of memory: at its first allocation, its second, and so on."""
    testcapi = pytest.importorskip("_testcapi")  # not every interpreter has it
    for number in range(1000):
        failed = False
        testcapi.set_nomemory(number, number + 1)
        try:
            call()
        except (MemoryError, SystemError):  # the interpreter itself loses one now and then
            failed = True
        finally:
            testcapi.remove_mem_hooks()
        if not failed:
            return
        yield counts(gate)


# 341 keys fill a dictionary: the next one makes it grow. And numbers under 257 are never made, for they are there.
@pytest.mark.parametrize("crowd", [256, 341, 342])
@pytest.mark.parametrize(
    "peer", [ipv4("192.0.2.7"), ipv6("2001:db8::7"), ipv4("127.0.0.9"), unix(7), ipv4("10.0.0.1")], ids=str
)
def test_without_memory_somebody_is_in_or_out_and_never_half(peer, crowd):
    """Whichever allocation fails, nobody is counted who was not let in, and whoever is to leave can still leave."""
    gate = Gate(
        Rules(
            max_connections=10_000,
            max_per_peer=300,
            reserve=5,
            reserve_for=RESERVED,
            accept_rate=Rate(100_000),
            accept_rate_per_peer=Rate(100_000),
        )
    )
    outcome(gate, *[ipv4(f"10.0.{number // 250}.{number % 250}") for number in range(crowd)])
    outside = counts(gate)
    assert all(outside == after for after in with_each_allocation_failing(gate, lambda: gate.admit(peer, NOW)))
    inside = counts(gate)
    assert outside != inside
    assert all(inside == after for after in with_each_allocation_failing(gate, lambda: gate.leave(peer)))
    assert outside == counts(gate)


HOSTS = st.sampled_from(["192.0.2.1", "192.0.2.2", "127.0.0.1", "2001:db8::1", "2001:db8::2", ""])


class Crowd(RuleBasedStateMachine):
    """People come, leave and are refused in any order; an independent count goes along."""

    inside = Bundle("inside")

    def __init__(self):
        super().__init__()
        self.gate = Gate(Rules(max_connections=6, max_per_peer=3))
        self.counts = Counter()
        self.refused = 0

    @rule(target=inside, host=HOSTS)
    def come(self, host):
        peer = unix() if not host else ipv6(host) if ":" in host else ipv4(host)
        key = "2001:db8::/64" if ":" in host else host
        full = self.counts.total() >= 6 or (host and self.counts[key] >= 3)
        refusal = self.gate.admit(peer, NOW)

        assert bool(full) is (refusal is not None)
        if refusal is not None:
            self.refused += 1
            return None
        self.counts[key] += 1
        return peer, key

    @rule(entry=consumes(inside))
    def go(self, entry):
        if entry is not None:
            peer, key = entry
            self.gate.leave(peer)
            self.counts[key] -= 1

    @invariant()
    def counts_agree(self):
        assert self.counts.total() == self.gate.open
        assert self.refused == self.gate.refused.total()
        assert self.counts["192.0.2.1"] == self.gate.open_of(ipv4("192.0.2.1"))
        assert self.counts["2001:db8::/64"] == self.gate.open_of(ipv6("2001:db8::9"))
        # Nobody who has left is remembered.
        assert len([key for key, count in self.counts.items() if count and key]) == len(self.gate.counts._of_key)


test_counts_are_exact_whoever_comes_and_goes = Crowd.TestCase
