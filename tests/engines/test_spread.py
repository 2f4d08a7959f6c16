"""A drain in random order: who is told when."""

from penstock.engines.spread import Spread
from penstock.testing.clock import ManualClock


class Peer:
    """A connection that notes when it is told."""

    def __init__(self, number, told, clock):
        self.number, self.told, self.clock = number, told, clock
        self.close_reason = None

    def drain(self):
        self.told.append((self.number, self.clock.time()))


def told_at(count, spread_s):
    """Return when each of so many connections is told, in the order in which they are."""
    clock, told = ManualClock(0.0), []
    Spread(clock, [Peer(number, told, clock) for number in range(count)], spread_s)
    clock.advance(spread_s + 1e-6)
    return told


def test_all_are_told_in_time_and_each_once():
    """The last one when the time is over; none at the beginning."""
    for count in (1, 3, 1000):
        told = told_at(count, 10.0)

        assert list(range(count)) == sorted(conn for conn, _ in told)
        assert all(0 < at <= 10.0 + 1e-6 for _, at in told)


def test_they_are_spread_evenly():
    """As many in the first half as in the second."""
    told = told_at(1000, 10.0)

    assert 500 == sum(at <= 5.0 + 1e-6 for _, at in told)
    assert max(sum(at == other for _, other in told) for _, at in told) <= 5


def test_the_order_is_random():
    """Or the oldest peers would be the first at every restart."""
    orders = {tuple(conn for conn, _ in told_at(20, 1.0)) for _ in range(5)}

    assert len(orders) > 1


def test_one_that_cannot_be_told_holds_up_none_of_another_batch():
    """Its failure is the clock's to report."""
    clock, told = ManualClock(0.0), []
    peers = [Peer(number, told, clock) for number in range(3)]
    peers[1].drain = lambda: 1 / 0
    Spread(clock, peers, 3.0, shuffle=lambda _: None)
    for _ in range(3):
        try:
            clock.advance(1.0)
        except ZeroDivisionError:
            continue

    assert [2, 0] == [number for number, _ in told]


def test_one_that_has_ended_is_told_nothing():
    """By itself, or by its peer."""
    clock, told = ManualClock(0.0), []
    peers = [Peer(number, told, clock) for number in range(2)]
    Spread(clock, peers, 1.0)
    peers[0].close_reason = "eof"
    clock.advance(2.0)

    assert [1] == [number for number, _ in told]


def test_what_is_cancelled_tells_no_more():
    """The rest is told by another."""
    clock, told = ManualClock(0.0), []
    spread = Spread(clock, [Peer(number, told, clock) for number in range(4)], 4.0)
    clock.advance(1.0)
    spread.cancel()
    spread.cancel()
    clock.advance(10.0)

    assert 1 == len(told)
