"""What ``penstock bench`` asks of a server."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..address import Address, Kind
from ..codecs import Codec
from ..codecs.raw import is_raw
from .pace import Pace

if TYPE_CHECKING:
    from ..client.tls import Handshake


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked of a server.

    Attributes:
        address: Where it is.
        codec: What cuts the replies.
        message: What each request is.
        connections: At once.
        depth: Most requests on their way on each.
        pace: When requests are due, on all together; None: a reply makes room for the next.
        warmup_s: How long requests are sent before anything is counted.
        duration_s: How long requests are sent and counted; None: until `count` are.
        count: How many requests are sent and counted; None: until `duration_s` is over.
        timeout_s: How long a reply may take, and how long the last ones are waited for.
        expect_echo: Whether a reply that is not what was sent is an error.
        handshake: Whom to trust, and what to show, where TLS is spoken; each connection does all of it.
    """

    address: Address
    codec: Codec[Any]
    message: Any
    connections: int = 50
    depth: int = 1
    pace: Pace | None = None
    warmup_s: float = 0.0
    duration_s: float | None = 10.0
    count: int | None = None
    timeout_s: float = 5.0
    expect_echo: bool = False
    handshake: Handshake | None = None

    @property
    def is_records(self) -> bool:
        """Whether each request and each reply is a record of its own: a datagram, or one of a seqpacket socket."""
        return self.address.kind is not Kind.STREAM

    @property
    def is_datagrams(self) -> bool:
        """Whether requests and replies may be lost by the network."""
        return self.address.is_datagram

    @property
    def is_raw(self) -> bool:
        """Whether replies have no bounds, so that each is as many bytes as a request."""
        return is_raw(self.codec) and not self.is_records

    @property
    def frame(self) -> bytes:
        """A request as it is on the wire."""
        if self.is_records:
            return self.codec.encode_datagram(self.message)
        return self.codec.encode(self.message)

    def share(self, number: int, processes: int) -> Load:
        """Return the part of one of ``processes``, which are numbered from 0. All parts together are this load."""
        return replace(
            self,
            connections=(self.connections + processes - 1 - number) // processes,
            pace=None if self.pace is None else replace(self.pace, stride=processes, offset=number),
            count=None if self.count is None else (self.count + processes - 1 - number) // processes,
        )
