"""Which connections are listed, in which order, and what that costs the others."""

import asyncio
import socket
from types import SimpleNamespace

import pytest

import penstock
from penstock.address import Peer, parse_address
from penstock.control.connections import PER_TURN, Chosen, listed, ordered, row_of, select
from penstock.control.messages import Connections, Selection
from penstock.errors import ConfigurationError


def connection(number, host="192.0.2.1", **facts):
    """What is looked at of a connection."""
    known = {
        "id": number,
        "peer": Peer((host, 1000 + number), socket.AF_INET),
        "local": parse_address("tcp://127.0.0.1:9000"),
        "phase": "open",
        "opened_at": 0.0,
        "idle_for": lambda now: now / 2,
        "messages_in": number,
        "messages_out": 0,
        "bytes_in": 0,
        "bytes_out": 0,
        "queued_bytes": 0,
        "tls": None,
    }
    return SimpleNamespace(**known | facts)


def server_of(*connections):
    return {"echo": SimpleNamespace(connections=connections, now=100.0)}


async def ids(servers, **asked):
    rows, total = await listed(servers, Connections(**asked))
    assert total >= len(rows)
    return [row.id for row in rows]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, [1, 2, 3]),
        ({"ids": [3, 9]}, [3]),
        ({"peer": "192.0.2.1"}, [1, 3]),
        ({"peer": "192.0.2.0/24"}, [1, 3]),
        ({"peer": "198.51.100.7:1002"}, [2]),
        ({"service": "echo", "state": "closing"}, [3]),
        ({"min_age_s": 50.0}, [1, 3]),
        ({"min_idle_s": 10.0}, [1, 2]),
        ({"min_queued_bytes": 5}, [2]),
        ({"worker": 1}, []),
    ],
)
async def test_a_filter_leaves_those_of_whom_all_of_it_holds(asked, expected):
    """By number, peer, network, service, state, age, silence, what is queued, and process."""
    servers = server_of(
        connection(1),
        connection(2, "198.51.100.7", opened_at=90.0, queued_bytes=5),
        connection(3, phase="closing", idle_for=lambda _: 0.0),
    )

    assert expected == await ids(servers, **asked)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"sort": "messages_in", "descending": True}, [4, 3, 2, 1]),
        ({"sort": "messages_in", "descending": True, "limit": 2}, [4, 3]),
        ({"sort": "messages_in", "limit": 2}, [1, 2]),
        ({"sort": "peer", "limit": 1}, [1]),
        ({"sort": "tls"}, [1, 2, 3, 4]),
    ],
)
async def test_rows_are_sorted_before_they_are_cut(asked, expected):
    """The first of all of them, not of some."""
    servers = server_of(*map(connection, (3, 1, 4, 2)))

    assert expected == await ids(servers, **asked)


async def test_rows_of_several_processes_are_put_in_one_order():
    """As if one process had them all."""
    asked = Connections(sort="messages_in", descending=True, limit=3)
    parts = [await listed(server_of(*map(connection, numbers)), asked) for numbers in ((1, 5, 3), (4, 2))]

    assert [5, 4, 3] == [row.id for row in ordered([row for rows, _ in parts for row in rows], asked)]


@pytest.mark.parametrize("asked", [{"sort": "colour"}, {"limit": 0}, {"limit": 10_001}, {"service": "none"}])
async def test_what_cannot_be_is_refused(asked):
    """An order by what is no field, a limit that is none, a service that there is not."""
    with pytest.raises(ConfigurationError):
        await listed(server_of(connection(1)), Connections(**asked))


def test_a_peer_that_is_no_address_is_refused():
    """Or it would mean nobody, in silence."""
    with pytest.raises(ConfigurationError):
        Chosen(Selection(peer="example"))


async def test_many_connections_are_looked_at_in_turns():
    """The loop, and with it every peer, has a turn after so many."""
    turns = 0

    def count():
        nonlocal turns
        turns += 1
        loop.call_soon(count)

    loop = asyncio.get_running_loop()
    servers = server_of(*map(connection, range(1, 10 * PER_TURN + 1)))
    loop.call_soon(count)
    rows, total = await listed(servers, Connections(limit=5))

    assert (5, 10 * PER_TURN) == (len(rows), total)
    assert turns >= 9


async def test_a_datagram_is_a_row_too():
    """It has neither silence nor an end."""
    conn = connection(7)
    del conn.phase, conn.idle_for
    row = row_of("echo", server_of()["echo"], conn)

    assert ("open", 0.0) == (row.state, row.idle_s)


async def test_a_session_is_a_row_as_any_connection():
    """Under the address of its sender, with what it has sent and how long it has been silent."""
    service = penstock.on_message(codec="lines", sessions=True, name="echo")(lambda message: message)
    async with penstock.serve(service, bind="udp://127.0.0.1:0") as server:
        async with await penstock.connect(server.addresses[0], codec="lines") as peer:
            for message in (b"one", b"two"):
                assert message == await peer.request(message)
            rows, total = await listed({"echo": server}, Connections())

            assert 1 == total
            (row,) = rows
            assert (server.addresses[0], "open", 2, 2, 6, 0) == (
                row.local,
                row.state,
                row.messages_in,
                row.messages_out,
                row.bytes_in,
                row.queued_bytes,
            )
            assert [row.id] == await ids({"echo": server}, peer="127.0.0.1")


async def test_selected_connections_come_with_their_rows():
    """What is done to one is done to what the row says."""
    found = [(conn.id, row.id) async for conn, row in select(server_of(connection(1)), Selection())]

    assert [(1, 1)] == found
