"""The connections of a process as rows: chosen, sorted and cut without holding the loop."""

from __future__ import annotations

import asyncio
import heapq
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, Final

from ..address.networks import AccessList
from ..core.contract import ConnectionBase
from ..errors import ConfigurationError
from ..server.server import Server
from .messages import MOST_ROWS, Connections, Row, Selection

# How many connections are looked at in one turn of the loop: some hundred microseconds.
PER_TURN: Final = 200
SORTABLE: Final = Row.__struct_fields__


def row_of(service: str, server: Server, conn: ConnectionBase[Any]) -> Row:
    """Say how a connection is."""
    now = server.now
    each: Any = conn  # a datagram stands for no connection: neither phase nor silence
    return Row(
        id=conn.id,
        worker=os.getpid(),
        service=service,
        peer=str(conn.peer),
        local=str(conn.local),
        state=getattr(each, "phase", "open"),
        age_s=round(max(0.0, now - conn.opened_at), 3),
        idle_s=round(each.idle_for(now), 3) if hasattr(each, "idle_for") else 0.0,
        messages_in=conn.messages_in,
        messages_out=conn.messages_out,
        bytes_in=conn.bytes_in,
        bytes_out=conn.bytes_out,
        queued_bytes=conn.queued_bytes,
        tls=None if conn.tls is None else conn.tls.version,
    )


class Chosen:
    """Says which connections a selection means.

    Args:
        selection: What holds of them.

    Raises:
        ConfigurationError: ``peer`` is neither an address nor a network.
    """

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self._ids = None if selection.ids is None else frozenset(selection.ids)
        self._networks: AccessList | None = None
        if selection.peer is not None:
            try:
                self._networks = AccessList([selection.peer])
            except ConfigurationError:
                if not selection.peer.startswith("unix") and ":" not in selection.peer:
                    raise

    def __call__(self, conn: ConnectionBase[Any], row: Row) -> bool:
        """Whether a connection is one of them."""
        asked = self._selection
        return (
            (self._ids is None or row.id in self._ids)
            and asked.worker in (None, row.worker)
            and asked.service in (None, row.service)
            and asked.state in (None, row.state)
            and row.age_s >= (asked.min_age_s or 0.0)
            and row.idle_s >= (asked.min_idle_s or 0.0)
            and row.queued_bytes >= (asked.min_queued_bytes or 0)
            and (asked.peer is None or self._is_peer(conn, row))
        )

    def _is_peer(self, conn: ConnectionBase[Any], row: Row) -> bool:
        if row.peer == self._selection.peer:
            return True
        peer = conn.peer
        return self._networks is not None and self._networks.names(peer.host, peer.uid, peer.gid)


async def select(servers: Mapping[str, Server], selection: Selection) -> AsyncIterator[tuple[ConnectionBase[Any], Row]]:
    """Yield the connections that are meant, each with its row of this moment; others get their turn in between.

    Raises:
        ConfigurationError: There is no such service, or ``peer`` is no address.
    """
    chosen = Chosen(selection)
    if selection.service is not None and selection.service not in servers:
        raise ConfigurationError(f"there is no service {selection.service!r}; there are {', '.join(servers)}")
    for number, (service, conn) in enumerate(list(_every(servers))):
        if number % PER_TURN == PER_TURN - 1:
            await asyncio.sleep(0)
        row = row_of(service, servers[service], conn)
        if chosen(conn, row):
            yield conn, row


def _every(servers: Mapping[str, Server]) -> Iterator[tuple[str, ConnectionBase[Any]]]:
    for service, server in servers.items():
        for conn in list(server.connections):
            yield service, conn


async def listed(servers: Mapping[str, Server], asked: Connections) -> tuple[list[Row], int]:
    """Return the rows that are asked for, in order, and how many there would be without a limit.

    Raises:
        ConfigurationError: As `select`, or they cannot be sorted or limited so.
    """
    check_order(asked)
    found: list[_Ranked] = []
    total = 0
    async for _, row in select(servers, asked):
        total += 1
        ranked = _Ranked(row, asked)
        if len(found) < asked.limit:
            heapq.heappush(found, ranked)
        else:
            heapq.heappushpop(found, ranked)
    return [each.row for each in sorted(found, reverse=True)], total


def ordered(rows: list[Row], asked: Connections) -> list[Row]:
    """Return rows of several processes in the order that is asked for, and no more than that."""
    return [each.row for each in sorted((_Ranked(row, asked) for row in rows), reverse=True)][: asked.limit]


def check_order(asked: Connections) -> None:
    """Refuse an order or a limit that is impossible.

    Raises:
        ConfigurationError: Rows have no such field, or ``limit`` is above the most there can be.
    """
    if asked.sort not in SORTABLE:
        raise ConfigurationError(f"rows have no {asked.sort!r}; they have {', '.join(SORTABLE)}")
    if not 1 <= asked.limit <= MOST_ROWS:
        raise ConfigurationError(f"limit is {asked.limit}: from 1 to {MOST_ROWS:,}")


class _Ranked:
    """A row in a heap whose first is the one that would be listed last."""

    __slots__ = ("_descending", "_key", "row")

    def __init__(self, row: Row, asked: Connections) -> None:
        value = getattr(row, asked.sort)
        self._key = "" if value is None else value, row.worker, row.id
        self._descending = asked.descending
        self.row = row

    def __lt__(self, other: _Ranked) -> bool:
        return self._key < other._key if self._descending else self._key > other._key
