"""Durations beyond what poll(2) and epoll_wait(2) take in milliseconds: 24.8 days."""

import asyncio
import dataclasses

import pytest

import penstock
from penstock.client import Backoff, Client, Pool
from penstock.config import Timeouts
from penstock.config.kinds.quantities import MAX_DURATION_S

DAYS_25 = 25 * 86400.0
DURATIONS = pytest.mark.parametrize("seconds", [DAYS_25, 400 * 86400.0, MAX_DURATION_S], ids=["25d", "400d", "10y"])


def all_timeouts(cls, seconds):
    """Every field of a class of timeouts that is a duration, as long as can be."""
    names = [field.name for field in dataclasses.fields(cls) if field.name.endswith("_s") and "_per_" not in field.name]
    return cls(**dict.fromkeys(names, seconds))


@DURATIONS
def test_a_server_whose_timeouts_are_all_long(serve, form, seconds):
    """Each is set, none of them ends anything, and the peer is served."""
    timeouts = all_timeouts(Timeouts, seconds)
    with serve(lambda _, message: message.upper(), timeouts=timeouts) as server, server.dial() as sock:
        sock.sendall(b"one\n")
        reply = sock.recv(100)

    assert b"ONE\n" == reply


@pytest.mark.uncipherable("its clients ask in clear")
@DURATIONS
@pytest.mark.parametrize("scheme", ["tcp://127.0.0.1:0", "udp://127.0.0.1:0"])
def test_a_client_without_a_loop_that_waits_long(serve, engine, seconds, scheme):
    """`connect_sync`: connecting, reading, all of it together, and one request."""
    timeouts = all_timeouts(penstock.ClientTimeouts, seconds)
    with serve(penstock.on_message(codec="lines")(bytes.upper), bind=scheme) as server:
        with penstock.connect_sync(server.addresses[0], codec="lines", timeouts=timeouts) as conn:
            replies = [conn.request(b"a"), conn.request(b"b", timeout_s=seconds)]

    assert [b"A", b"B"] == replies


@pytest.mark.uncipherable("its clients ask in clear")
@DURATIONS
@pytest.mark.parametrize("scheme", ["tcp://127.0.0.1:0", "udp://127.0.0.1:0"])
def test_a_client_that_waits_long(serve, engine, seconds, scheme):
    """`connect` in the loop of each engine, and a `Client` and a `Pool` for streams."""
    timeouts = all_timeouts(penstock.ClientTimeouts, seconds)

    async def talk(address):
        async with await penstock.connect(address, codec="lines", timeouts=timeouts) as conn:
            replies = [await conn.request(b"a"), await conn.request(b"b", timeout_s=seconds)]
        if address.startswith("udp"):
            return replies
        backoff = Backoff(first_s=seconds, max_s=seconds, reset_after_s=seconds)
        async with Client(address, timeouts=timeouts, backoff=backoff) as client:
            await client.wait_connected(seconds)
            replies.append(await client.request(b"d", timeout_s=seconds))
            await client.send(b"c", timeout_s=seconds)
            await client.drain(seconds)
        async with Pool(address, timeouts=timeouts, idle_s=seconds) as pool:
            replies.append(await pool.request(b"e", timeout_s=seconds))
        return replies

    with serve(penstock.on_message(codec="lines")(bytes.upper), bind=scheme) as server:
        with asyncio.Runner(loop_factory=engine.loop_factory) as runner:
            replies = runner.run(talk(server.addresses[0]))

    assert [b"A", b"B"] == replies[:2]
    assert [b"D", b"E"] == replies[2:] or scheme.startswith("udp")
