"""Happy eyeballs on a told clock: nothing here waits for time."""

import asyncio
import errno
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

import penstock
from penstock.client.eyeballs import NoneAnsweredError, interleave, race

BLACK_HOLE = float("inf")
REFUSED = OSError(errno.ECONNREFUSED, "refused")


@given(st.lists(st.tuples(st.sampled_from([4, 6]), st.integers()), unique=True, max_size=20))
def test_families_take_turns_and_keep_their_order(items):
    """RFC 8305 section 4: the first choice stays first, families alternate while both last, nobody is lost."""
    ordered = interleave(items, lambda item: item[0])

    assert sorted(items) == sorted(ordered)
    for family in (4, 6):
        assert [item for item in items if item[0] == family] == [item for item in ordered if item[0] == family]
    assert items[:1] == ordered[:1]
    shorter = min(sum(item[0] == family for item in items) for family in (4, 6))
    assert all(ordered[i][0] != ordered[i + 1][0] for i in range(2 * shorter - 1))


async def test_a_dead_ipv6_path_costs_one_stagger(clock, network, tools, figure):
    """T-95: the first address never answers; the second is tried 250 ms later, and its answer is taken at once."""
    net = network({"2001:db8::1": BLACK_HOLE, "192.0.2.1": None})
    began_at = clock.time()
    connecting = asyncio.create_task(penstock.connect("tcp://host.example:1", clock=clock, network=net))
    await tools.until(lambda: net.dialled)
    clock.advance(0.249)
    await tools.turns()
    tried_early = len(net.dialled)
    clock.advance(0.001)
    conn = await connecting
    extra_s = clock.time() - began_at
    conn.abort()
    await conn.wait_closed()

    assert 1 == tried_early
    assert [("2001:db8::1", began_at), ("192.0.2.1", began_at + 0.25)] == net.dialled
    assert extra_s < 0.3
    assert 0 == clock.pending
    figure(f"T-95 dead IPv6 path costs {extra_s * 1000:.0f} ms on the told clock")


async def test_a_dead_ipv6_path_of_real_sockets_is_left(clock, reserve, tools):
    """T-95 with a real black hole: a listener whose backlog is full answers no SYN; the next address wins."""
    port = reserve()
    with socket.create_server(("::1", port), family=socket.AF_INET6, backlog=0):
        fillers = []
        for _ in range(8):
            filler = socket.socket(socket.AF_INET6)
            filler.setblocking(False)
            filler.connect_ex(("::1", port))
            fillers.append(filler)
        live = socket.create_server(("127.0.0.1", port))
        net = _Localhost(port)
        began_at = clock.time()
        connecting = asyncio.create_task(penstock.connect(f"tcp://localhost:{port}", clock=clock, network=net))
        await tools.until(lambda: clock.pending >= 2)  # the stagger and the limit of connecting
        clock.advance(0.25)
        async with asyncio.timeout(20):
            conn = await connecting
        host = conn.peer.host
        conn.abort()
        await conn.wait_closed()
        for sock in (*fillers, live):
            sock.close()

    assert "127.0.0.1" == host
    assert clock.time() - began_at < 0.3


class _Localhost:
    """The system's sockets, and ::1 before 127.0.0.1 whatever the system says."""

    def __init__(self, port):
        self.port = port

    async def resolve(self, address, kind):
        from penstock.client.network import Candidate

        return [
            Candidate(socket.AF_INET6, kind, ("::1", self.port, 0, 0)),
            Candidate(socket.AF_INET, kind, ("127.0.0.1", self.port)),
        ]

    async def dial(self, candidate, options):
        from penstock.client.network import SYSTEM

        return await SYSTEM.dial(candidate, options)


async def test_a_refusal_is_not_waited_for(clock, network):
    """An attempt that fails is followed by the next one at once."""
    net = network({"2001:db8::1": REFUSED, "192.0.2.1": REFUSED, "2001:db8::2": None})
    began_at = clock.time()
    conn = await penstock.connect("tcp://host.example:1", clock=clock, network=net)
    conn.abort()
    await conn.wait_closed()

    assert [began_at] * 3 == [when for _, when in net.dialled]


async def test_the_first_to_answer_wins_and_the_losers_are_closed(clock, network, tools):
    """An earlier attempt that answers late may still win; what else was open is not."""
    net = network({"2001:db8::1": 0.3, "192.0.2.1": 10.0, "2001:db8::2": 10.0})
    before = tools.books(clock)
    connecting = asyncio.create_task(penstock.connect("tcp://host.example:1", clock=clock, network=net))
    await tools.until(lambda: net.dialled)
    clock.advance(0.25)
    await tools.until(lambda: len(net.dialled) == 2)
    clock.advance(0.05)
    conn = await connecting
    conn.abort()
    await conn.wait_closed()
    net.close()
    await tools.turns()

    assert 2 == len(net.dialled)
    assert 1 == len(net.far_ends)
    assert before == await tools.books_again(before, clock)


async def test_all_failures_are_told(clock, network):
    """When nobody answers each address is named with its own reason, and the errno is the most telling."""
    net = network({"2001:db8::1": OSError(errno.ENETUNREACH, "x"), "192.0.2.1": REFUSED})
    with pytest.raises(penstock.ConnectError) as caught:
        await penstock.connect("tcp://host.example:1", clock=clock, network=net)

    assert "[2001:db8::1]:1 network is unreachable; 192.0.2.1:1 connection refused" == caught.value.problem
    assert (errno.ECONNREFUSED, "connect") == (caught.value.errno, caught.value.phase)


async def test_a_bug_in_an_attempt_is_raised_and_ends_the_others(clock):
    """Only OSError means that the next address is tried."""
    ended = []

    async def attempt(candidate):
        if candidate == "bug":
            raise ZeroDivisionError
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append(candidate)

    racing = asyncio.create_task(race(["hole", "bug"], attempt, discard=print, clock=clock))
    while not clock.pending:
        await asyncio.sleep(0)
    clock.advance(0.25)
    with pytest.raises(ZeroDivisionError):
        await racing

    assert ["hole"] == ended


async def test_two_answers_in_one_turn_leave_one_open(clock):
    """The one that was not taken is discarded."""
    discarded = []
    go = asyncio.get_running_loop().create_future()

    async def attempt(candidate):
        await asyncio.shield(go)
        return candidate

    racing = asyncio.create_task(race([1, 2], attempt, discard=discarded.append, clock=clock))
    while not clock.pending:
        await asyncio.sleep(0)
    clock.advance(0.25)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    go.set_result(None)
    winner = await racing
    await asyncio.sleep(0)

    assert {1, 2} == {winner, *discarded}


async def test_one_candidate_that_fails_is_told_as_one_of_many(clock):
    """The short way for one address raises what the long way does."""

    async def attempt(candidate):
        raise REFUSED

    with pytest.raises(NoneAnsweredError) as caught:
        await race(["only"], attempt, discard=print, clock=clock)

    assert [("only", REFUSED)] == caught.value.failures
