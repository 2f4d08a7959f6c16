"""Law 12, for clients: whatever is awaited in a row, the loop has its turn."""

import asyncio
import contextlib
import socket

import pytest

import penstock
from penstock import Client, ClientTimeouts, Pool, connect, open_datagrams
from penstock.core.turns import MOST_IN_A_ROW, turn_of

HELD = 100 * MOST_IN_A_ROW


async def in_a_row(do):
    """Do something again and again until the loop has had its turn; return how often it was done."""
    turned = []
    asyncio.get_running_loop().call_soon(turned.append, True)
    count = 0
    while not turned and count < HELD:
        count += 1
        with contextlib.suppress(penstock.PenstockError, TypeError):
            await do()
    return count


@contextlib.asynccontextmanager
async def the_connection(address):
    async with await connect(address) as conn:
        yield conn


@contextlib.asynccontextmanager
async def a_closed_connection(address):
    async with await connect(address) as conn:
        conn.abort()
        await conn.wait_closed()
        yield conn


@contextlib.asynccontextmanager
async def the_client(address):
    async with Client(address, queue_max=10, when_full="drop_oldest") as client:
        await client.wait_connected()
        yield client


@contextlib.asynccontextmanager
async def a_closed_client(address):
    client = Client(address)
    async with client:
        pass
    yield client


@contextlib.asynccontextmanager
async def the_pool(address):
    async with Pool(address) as pool:
        await pool.request(b"first")
        yield pool


@contextlib.asynccontextmanager
async def a_closed_pool(address):
    pool = Pool(address)
    await pool.close()
    yield pool


async def lend(pool):
    async with pool.connection():
        pass


SPINS = {
    "send": (the_connection, lambda conn: conn.send(b"x")),
    "refused": (the_connection, lambda conn: conn.send(7)),
    "closed-send": (a_closed_connection, lambda conn: conn.send(b"x")),
    "closed-receive": (a_closed_connection, lambda conn: conn.receive()),
    "closed-request": (a_closed_connection, lambda conn: conn.request(b"x")),
    "closed-wait_closed": (a_closed_connection, lambda conn: conn.wait_closed()),
    "client-send": (the_client, lambda client: client.send(b"x")),
    "client-refused": (the_client, lambda client: client.request(7)),
    "client-drain": (the_client, lambda client: client.drain()),
    "client-wait_connected": (the_client, lambda client: client.wait_connected()),
    "closed-client-send": (a_closed_client, lambda client: client.send(b"x")),
    "closed-client-request": (a_closed_client, lambda client: client.request(b"x")),
    "closed-client-wait_connected": (a_closed_client, lambda client: client.wait_connected()),
    "closed-client-close": (a_closed_client, lambda client: client.close()),
    "pool": (the_pool, lend),
    "closed-pool": (a_closed_pool, lend),
    "closed-pool-request": (a_closed_pool, lambda pool: pool.request(b"x")),
    "closed-pool-close": (a_closed_pool, lambda pool: pool.close()),
}


@pytest.mark.parametrize("name", SPINS)
async def test_what_is_awaited_in_a_row_lets_the_loop_turn(shout, name):
    """Whether it goes on at once or raises at once, with streams."""
    make, do = SPINS[name]
    async with make(shout.address) as subject:
        count = await in_a_row(lambda: do(subject))

    assert MOST_IN_A_ROW + 2 >= count


DATAGRAM_SPINS = {
    "send": lambda conn: conn.send(b"x"),
    "refused": lambda conn: conn.send(7),
    "closed-send": lambda conn: conn.close() or conn.send(b"x"),
    "closed-receive": lambda conn: conn.close() or conn.receive(),
    "closed-wait_closed": lambda conn: conn.close() or conn.wait_closed(),
}


@pytest.mark.parametrize("name", DATAGRAM_SPINS)
async def test_datagrams_in_a_row_let_the_loop_turn(serve, name, tmp_path):
    """Sent, or received of those that are there, or refused because the socket is closed."""
    server = serve(penstock.on_message(codec="raw")(lambda message: message * 2), bind="udp://127.0.0.1:0")
    async with await connect(server.address, codec="raw") as conn:
        count = await in_a_row(lambda: DATAGRAM_SPINS[name](conn))

    assert MOST_IN_A_ROW + 2 >= count


async def test_datagrams_that_are_there_are_received_in_turns(tmp_path):
    """However many came before the first of them is received."""
    async with await open_datagrams(f"unix+dgram:{tmp_path}/s") as sock:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as peer:
            peer.setblocking(False)
            there = 0
            with contextlib.suppress(BlockingIOError):
                while True:
                    peer.sendto(b"x", f"{tmp_path}/s")
                    there += 1
        turn_of(asyncio.get_running_loop()).left = there // 2
        count = await in_a_row(sock.receive_from)

    assert there // 2 + 2 >= count


@pytest.mark.parametrize("end", ["open", "closed"])
async def test_an_unconnected_socket_lets_the_loop_turn(end):
    """Sending to whoever it may be, and receiving, when it is closed."""
    async with await open_datagrams("udp://127.0.0.1:0") as sock:
        to = str(sock.local)
        if end == "closed":
            sock.close()
        sent = await in_a_row(lambda: sock.send_to(b"x", to))
        received = await in_a_row(sock.receive_from) if end == "closed" else 0
        refused = await in_a_row(lambda: sock.send_to(b"x", "tcp://127.0.0.1:1"))

    assert MOST_IN_A_ROW + 2 >= max(sent, received, refused)


async def test_connections_that_cannot_be_made_let_the_loop_turn(tmp_path):
    """Refused at once, by the system or by us."""
    counts = [
        await in_a_row(lambda: connect(f"unix:{tmp_path}/nobody", timeouts=ClientTimeouts(connect_s=1.0))),
        await in_a_row(lambda: connect("tcp://127.0.0.1:0")),
        await in_a_row(lambda: open_datagrams("tcp://127.0.0.1:1")),
    ]

    assert MOST_IN_A_ROW + 2 >= max(counts)


async def test_a_sender_whose_peer_goes_is_told_and_holds_nobody(peer):
    """The peer ends while nothing but send() is awaited: it raises, and the loop has turned meanwhile."""
    conn = await connect(peer.address)
    far = await peer.accept()
    asyncio.get_running_loop().call_soon(far.close)
    with pytest.raises(penstock.BrokenError) as caught:
        while True:
            await conn.send(b"tick")
    await conn.wait_closed()

    assert "reset" == str(caught.value.reason)
    assert isinstance(caught.value.__cause__, OSError)
