"""The format: one connection, as its old process tells its new one, encoded as MessagePack."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Final

import msgspec

from ...address import Peer
from ...errors import ProxyError
from ..proxy import ProxiedPeer, ProxyHeader, ProxyInfo, info_of
from . import CannotMoveError, key_of

# Raised when an older or newer reader would take something for what it is not. A field that may be left out is added
# with a default: then older readers skip it, and newer ones go without it.
FORMAT: Final = 1

# More than that is not handed over at once: the connection drains.
MOST_BYTES: Final = 4 * 1024 * 1024


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What there is to know of one connection.

    Attributes:
        id: Its number, which stays.
        service: Whose it is.
        local: The address at this end.
        peer: Who is at the other end: address, family, credentials.
        codec: What cuts its stream: see `codecs.text_of`.
        codec_name: The same for a codec that is another than its service's; empty where it is the service's.
        state: What its handler knows of it, as MessagePack.
        ages: The ages of its clocks: see `law.ages_of`.
        pending: What was read and no message has taken.
        remembered: What the codec knows of that: see `codecs.plain_of`.
        owed: What was sent and the kernel has not taken.
        waiting: What waits behind that, in one piece.
        frames: Of each frame in it, how long it is and how it waits: see `core.send_queue`.
        names: Of those that a later one may replace, the place and the key: what is no plain data has none.
        bytes_in: How many were read.
        bytes_out: How many were sent, those that are owed included.
        messages_in: How many were handled.
        messages_out: How many were taken to be sent.
        timeouts: Those that were set for it alone.
        limits: Likewise.
        places: The groups and keys of the application that it has.
        proxy: What its proxy has said: see `proxy_as_told`.
    """

    id: int
    service: str
    local: str
    peer: tuple[Any, int, bytes]
    codec: str
    state: bytes
    ages: dict[str, float]
    codec_name: str = ""
    pending: bytes = b""
    remembered: dict[str, Any] | None = None
    owed: bytes = b""
    waiting: bytes = b""
    frames: list[int] = []
    names: list[tuple[int, Any]] = []
    bytes_in: int = 0
    bytes_out: int = 0
    messages_in: int = 0
    messages_out: int = 0
    timeouts: dict[str, float | None] = {}
    limits: dict[str, int | str] = {}
    places: list[Any] = []
    proxy: list[Any] = []

    @property
    def size_bytes(self) -> int:
        """How much it carries."""
        return len(self.pending) + len(self.owed) + len(self.waiting) + len(self.state)


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Snapshot)


def encoded(snapshot: Snapshot) -> bytes:
    """Return a snapshot as bytes."""
    return _encoder.encode(snapshot)


def decoded(data: bytes) -> Snapshot:
    """Return the snapshot that is encoded in ``data``.

    Raises:
        CannotMoveError: It is none.
    """
    try:
        return _decoder.decode(data)
    except msgspec.DecodeError as error:
        raise CannotMoveError(f"what was handed over cannot be read: {error}") from error


def packed(state: object) -> bytes:
    """Return what a handler knows of its connection as bytes: plain data, dataclasses, `msgspec.Struct`.

    Raises:
        CannotMoveError: It is something else.
    """
    try:
        return _encoder.encode(state)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise CannotMoveError(f"what was to be handed over is no plain data: {error}") from error


def unpacked(state: bytes, decoder: msgspec.msgpack.Decoder[Any]) -> Any:
    """Return what was packed, as of the decoder's type.

    Raises:
        CannotMoveError: It is not of that type.
    """
    try:
        return decoder.decode(state)
    except msgspec.DecodeError as error:
        raise CannotMoveError(f"the state is not what on_takeover takes: {error}") from error


def peer_as_told(peer: Peer) -> tuple[Any, int, bytes]:
    """Return a peer as plain data."""
    return peer.sockname, int(peer.family), peer.credentials


def peer_of(told: tuple[Any, int, bytes]) -> Peer:
    """Return the peer that was told."""
    sockname, family, credentials = told
    return Peer(tuple(sockname) if isinstance(sockname, list) else sockname, family, credentials)


def proxy_as_told(info: ProxyInfo | None) -> list[Any]:
    """Return what a proxy has said as plain data; empty where there is none."""
    if info is None:
        return []
    destination = None if info.destination is None else peer_as_told(info.destination)
    return [info.version, info.is_local, peer_as_told(info.proxy), destination, info.tlvs]


def proxied(peer: Peer, told: list[Any]) -> Peer:
    """Return a peer with what its proxy has said, as `proxy_as_told` has it.

    Raises:
        CannotMoveError: It cannot be read.
    """
    if not told:
        return peer
    try:
        version, is_local, proxy, destination, tlvs = told
        known = None if destination is None else peer_of(destination)
        header = ProxyHeader(version, is_local, None, known, tuple((kind, value) for kind, value in tlvs))
        return ProxiedPeer(peer, info_of(header, peer_of(proxy)))
    except (ProxyError, TypeError, ValueError) as error:
        raise CannotMoveError(f"what its proxy has said cannot be read: {error}") from error


def check_places(places: Sequence[Sequence[Any]]) -> None:
    """Look whether a connection comes to the same groups and keys at the other end.

    Raises:
        CannotMoveError: A key is no plain data, or is read there as another one: a UUID as its text.
    """
    if places:
        packed(places)
        for place in places:
            if place[0] == "key" and not _is_the_same(place[2]):
                raise CannotMoveError(f"its key in {place[1]} is a {type(place[2]).__name__}, which is no plain data")


def names_as_told(names: Mapping[int, Hashable]) -> list[tuple[int, Any]]:
    """Return those keys that are the same at the other end, with their places."""
    return [(place, key) for place, key in names.items() if _is_the_same(key)]


def _is_the_same(key: Hashable) -> bool:
    try:
        return key_of(msgspec.msgpack.decode(_encoder.encode(key))) == key
    except (TypeError, ValueError, OverflowError, RecursionError):
        return False
