"""Lent connections: none that broke is lent again, and nothing is done twice that was not marked (T-94)."""

import asyncio

import pytest

import penstock
from penstock import Pool
from penstock.errors import ConfigurationError, Phase, RequestLostError

PATIENCE_S = 20


async def answer(far, reply):
    """Read one line from a plain socket and answer it."""
    loop = asyncio.get_running_loop()
    data = b""
    while not data.endswith(b"\n"):
        data += await loop.sock_recv(far, 1000)
    if reply is not None:
        await loop.sock_sendall(far, reply)
    return data


async def test_a_connection_is_lent_again(shout):
    """One connection serves requests that follow one another."""
    async with Pool(shout.address) as pool:
        replies = [await pool.request(b"%d" % number) for number in range(5)]

    assert [b"%d" % number for number in range(5)] == replies
    assert (1, 4) == (pool.stats.connects, pool.stats.reused)


async def test_no_more_than_its_size_are_open(serve):
    """The others wait their turn, and get it."""
    server = serve(penstock.on_message(codec="lines")(bytes.upper))
    most = 0
    lent = 0

    async def use(pool):
        nonlocal most, lent
        async with pool.connection() as conn:
            lent += 1
            most = max(most, lent)
            reply = await conn.request(b"x")
            lent -= 1
            return reply

    async with Pool(server.address, size=3) as pool:
        replies = await asyncio.gather(*(use(pool) for _ in range(50)))

    assert [b"X"] * 50 == replies
    assert (3, 3) == (most, pool.stats.connects)


@pytest.mark.parametrize("error", [ZeroDivisionError, asyncio.CancelledError])
async def test_a_connection_whose_block_failed_is_never_lent_again(shout, error):
    """T-94: a reply may still come on it, and would be taken for another's."""
    async with Pool(shout.address, size=1) as pool:
        with pytest.raises(error):
            async with pool.connection() as first:
                await first.send(b"whose reply?")
                raise error
        async with pool.connection() as second:
            reply = await second.request(b"mine")

    assert first is not second
    assert b"MINE" == reply


async def test_a_connection_with_something_left_on_it_is_never_lent_again(shout):
    """T-94: an answer that was asked for and not received is somebody's, not the next user's."""
    async with Pool(shout.address, size=1) as pool:
        async with pool.connection() as conn:
            await conn.send(b"one\ntwo".replace(b"\n", b""))
            await conn.send(b"two")
            await conn.receive()
            await conn.receive()
            await conn.send(b"nobody receives this one")
            while conn.bytes_in < 30:
                await asyncio.sleep(0)
        reply = await pool.request(b"mine")

    assert b"MINE" == reply
    assert 2 == pool.stats.connects


async def test_a_reply_that_came_in_time_is_read_before_time_is_up(clock, peer, tools):
    """A process that was stopped meanwhile finds it in the kernel."""
    async with Pool(peer.address, clock=clock) as pool:
        asking = asyncio.create_task(pool.request(b"who?", 5.0))
        far = await peer.accept()
        await tools.turns()
        far.sendall(b"me\n")
        clock.advance(5.0)
        reply = await asking

    assert b"me" == reply


async def test_an_idle_connection_that_the_server_closed_is_let_go(peer, tools):
    """T-94: its EOF is seen while it is idle; its descriptor does not wait for the next request."""
    async with Pool(peer.address) as pool:
        asking = asyncio.create_task(pool.request(b"one"))
        far = await peer.accept()
        await answer(far, b"1\n")
        await asking
        far.close()
        await tools.until(lambda: pool.idle == 0)
        asking = asyncio.create_task(pool.request(b"two"))
        await answer(await peer.accept(), b"2\n")
        reply = await asking

    assert b"2" == reply
    assert (2, 1, 0) == (pool.stats.connects, pool.stats.stale, pool.stats.retried)


async def test_an_idle_connection_closed_a_moment_ago_is_not_lent(peer):
    """T-94: the kernel is asked, not only the loop, which has not looked since."""
    async with Pool(peer.address) as pool:
        asking = asyncio.create_task(pool.request(b"one"))
        far = await peer.accept()
        await answer(far, b"1\n")
        await asking
        far.close()  # and the loop does not turn between this and the request
        asking = asyncio.create_task(pool.request(b"two"))
        await answer(await peer.accept(), b"2\n")
        reply = await asking

    assert b"2" == reply
    assert 1 == pool.stats.stale


async def test_what_was_sent_is_not_sent_again(peer, figure):
    """T-94: the server took the request and closed: it may have been done, and nobody but its author may ask again."""
    async with Pool(peer.address) as pool:
        asking = asyncio.create_task(pool.request(b"pay"))
        far = await peer.accept()
        taken = [await answer(far, None)]
        far.close()
        with pytest.raises(RequestLostError):
            await asking

    assert [b"pay\n"] == taken
    assert 0 == pool.stats.retried
    figure("T-94 pool: request taken and connection closed: sent once, raised")


async def test_what_is_idempotent_is_asked_again(peer):
    """At least once, as its author says it may be."""
    async with Pool(peer.address) as pool:
        asking = asyncio.create_task(pool.request(b"get", idempotent=True))
        far = await peer.accept()
        await answer(far, None)
        far.close()
        await answer(await peer.accept(), b"got\n")
        reply = await asking

    assert b"got" == reply
    assert 1 == pool.stats.retried


async def test_asking_again_has_an_end(peer):
    """A request that ends every connection is given up after attempts_max."""
    async with Pool(peer.address, attempts_max=2) as pool:
        asking = asyncio.create_task(pool.request(b"poison", idempotent=True))
        for _ in range(2):
            far = await peer.accept()
            await answer(far, None)
            far.close()
        with pytest.raises(RequestLostError):
            await asking

    assert 2 == pool.stats.connects


async def test_an_idle_connection_is_closed_in_time(clock, shout, tools):
    """idle_s after it came back, on the clock."""
    async with Pool(shout.address, idle_s=60.0, clock=clock) as pool:
        await pool.request(b"x")
        clock.advance(59.999)
        before = pool.idle
        clock.advance(0.001)

        assert (1, 0) == (before, pool.idle)


async def test_a_request_that_times_out_takes_its_connection_along(clock, peer, tools):
    """Its reply may come later, to nobody."""
    async with Pool(peer.address, size=1, clock=clock) as pool:
        asking = asyncio.create_task(pool.request(b"slow", 5.0))
        far = await peer.accept()
        await answer(far, None)
        clock.advance(5.0)
        with pytest.raises(penstock.TimedOutError) as caught:
            await asking
        asking = asyncio.create_task(pool.request(b"next"))
        await answer(await peer.accept(), b"mine\n")
        reply = await asking

    assert Phase.READ == caught.value.phase
    assert b"mine" == reply


async def test_closing_leaves_nothing_and_lends_no_more(clock, shout, tools):
    """Whoever waits for a connection is told."""
    before = tools.books(clock)
    pool = Pool(shout.address, size=1, clock=clock)
    async with pool, pool.connection():
        waiting = asyncio.create_task(pool.request(b"x"))
        await tools.turns()
        await pool.close()
        with pytest.raises(penstock.ClosedError):
            await waiting
    await tools.until(lambda: tools.books(clock)[1] == before[1])
    await asyncio.to_thread(shout.wait_connections, 0)
    await tools.turns()
    after = tools.books(clock)

    assert (before[0], before[3]) == (after[0], after[3])


@pytest.mark.parametrize("steps", range(12))
async def test_cancelling_a_request_at_any_turn_breaks_nobody(shout, steps):
    """T-92: the pool goes on with its full size."""
    async with Pool(shout.address, size=1) as pool:
        task = asyncio.create_task(pool.request(b"cancelled"))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        async with asyncio.timeout(PATIENCE_S):
            reply = await pool.request(b"mine")

    assert b"MINE" == reply


@pytest.mark.parametrize("wrong", [{"size": 0}, {"idle_s": 0}, {"attempts_max": 0}])
def test_a_pool_that_could_lend_nothing_is_refused(wrong):
    """When it is made."""
    with pytest.raises(ConfigurationError):
        Pool("tcp://127.0.0.1:1", **wrong)
