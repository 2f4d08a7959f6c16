"""Connections by key: the winner stays, whatever becomes of the losers."""

import asyncio

import pytest

import penstock
from penstock.errors import KeyTakenError


@pytest.fixture
async def devices():
    """A served application whose devices log in with their key and a policy."""
    app = penstock.App()

    @app.on_connection(codec="lines", bind="tcp://127.0.0.1:0")
    async def device(conn):
        key, on_taken = (await conn.receive()).split()
        try:
            async with app.registry("devices").hold(key, conn, on_taken=on_taken.decode()):
                await conn.send(b"in")
                async for message in conn:
                    await conn.send(message)
        except KeyTakenError as error:
            await conn.send(str(error).encode())

    async with app.test() as t:

        async def log_in(key, on_taken="replace"):
            conn = await t.connect("device")
            return conn, await conn.request(f"{key} {on_taken}".encode())

        yield app.registry("devices"), log_in, t["device"]


async def test_a_connection_is_found_by_its_key(devices):
    """And can be sent to, until it ends."""
    registry, log_in, server = devices
    conn, _ = await log_in("7")
    registry[b"7"].post(b"locate")

    assert b"locate" == await conn.receive()
    assert (1, [b"7"], True, None) == (len(registry), list(registry), b"7" in registry, registry.get(b"8"))
    conn.close()
    await server.wait_connections(0)
    assert (0, False) == (len(registry), b"7" in registry)
    with pytest.raises(KeyError):
        registry[b"7"]


async def test_a_later_one_replaces_and_the_losers_end_does_not_take_it_out(devices):
    """The earlier one is closed; when its handler has ended, the later one still has the key."""
    registry, log_in, server = devices
    first, _ = await log_in("7")
    loser = registry[b"7"]
    second, answer = await log_in("7")
    with pytest.raises(penstock.EndOfStreamError):
        await first.receive()
    first.close()
    await server.wait_connections(1)

    assert (b"in", 1) == (answer, len(registry))
    assert registry[b"7"] is not loser
    registry[b"7"].post(b"still here")
    assert b"still here" == await second.receive()


async def test_a_later_one_is_refused_where_that_is_wanted(devices):
    """By an error that names the key; the earlier one stays."""
    registry, log_in, server = devices
    first, _ = await log_in("7")
    _, answer = await log_in("7", "refuse")
    await server.wait_connections(1)

    assert b"another connection has the key b'7' in devices" == answer
    assert b"ping" == await first.request(b"ping")
    assert 1 == len(registry.all(b"7"))


async def test_several_have_one_key_where_they_join(devices):
    """The latest is found first; each takes out itself alone."""
    registry, log_in, server = devices
    first, _ = await log_in("7", "join")
    second, _ = await log_in("7", "join")
    winner = registry[b"7"]

    assert [registry.all(b"7")[1]] == [winner]
    second.close()
    await server.wait_connections(1)
    registry[b"7"].post(b"you")
    assert b"you" == await first.receive()


async def test_a_hold_without_a_block_ends_with_the_connection():
    """As a callback has it; held twice it is held once."""
    app = penstock.App()

    @app.on_message(bind="tcp://127.0.0.1:0")
    def device(conn, message):
        hold = app.registry("devices").hold(message, conn)
        assert hold is app.registry("devices").hold(message, conn)
        return message

    async with app.test() as t:
        conn = await t.connect("device")
        await conn.request(b"7")
        assert 1 == len(app.registry("devices"))
        conn.close()
        await t["device"].wait_connections(0)
        while len(app.registry("devices")):
            await asyncio.sleep(0)


async def test_a_clients_connection_cannot_be_held():
    """Nobody would tell of its end."""
    async with penstock.serve(lambda message: message, bind="tcp://127.0.0.1:0") as server:
        async with await penstock.connect(server.addresses[0]) as conn:
            with pytest.raises(penstock.LocalProtocolError, match="only a connection of a server"):
                penstock.Registry().hold("key", conn)


async def test_a_wrong_policy_is_refused_when_it_is_given(devices):
    """Not taken for another one."""
    registry, log_in, _ = devices
    await log_in("7")
    with pytest.raises(penstock.ConfigurationError, match="did you mean refuse"):
        registry.hold(b"7", registry[b"7"], on_taken="Refuse")


async def test_a_key_that_is_for_several_is_so_in_the_next_process(devices):
    """Whichever of its connections arrives first, and however many are left here: none of them closes another one."""
    registry, log_in, _ = devices
    app = penstock.App()
    peers = [await log_in("7"), await log_in("7", "join"), await log_in("8", "join"), await log_in("9")]
    conns = [*registry.all(b"7"), registry[b"8"], registry[b"9"]]
    app._registries["devices"] = registry
    holds = [hold for key in (b"7", b"8", b"9") for hold in registry._holds[key]]
    places = [hold.place(app) for hold in holds]

    assert [True, True, True, False] == [place[3] for place in places]
    other = penstock.App()
    for conn, place in zip(conns, places, strict=True):
        other.take_place(conn, place)
    assert conns[:2] == other.registry("devices").all(b"7")
    for conn, _ in peers:
        conn.close()
