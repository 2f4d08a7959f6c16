"""The listeners of a server with workers: opened once and kept, one for each worker where that is possible."""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ..address import Address, Kind, Scheme, parse_address
from ..engines.listener import Listener
from ..server.inherited import InheritedSocket
from ..server.sockets import close_listeners, open_listeners

# Elsewhere SO_REUSEPORT shares a port and does not spread what comes to it.
SPREADS: Final = sys.platform == "linux" and hasattr(socket, "SO_REUSEPORT")

Key = tuple[str, str]  # the service, and the address as it is configured

_logger: Final = logging.getLogger("penstock")


@dataclass(slots=True)
class Place:
    """One listener of an address, and its twins on the same port.

    Attributes:
        first: What was opened first: of all slots, or of one of them. Where all have left, what reserves the port.
        by_slot: The listener of each slot; empty where one is shared, or all have left.
    """

    first: Listener
    by_slot: dict[int, Listener] = field(default_factory=dict)

    @property
    def spreads(self) -> bool:
        """Whether each worker has a listener of its own there."""
        return (
            SPREADS
            and self.first.requested.scheme is not Scheme.FD
            and self.first.address.scheme in (Scheme.TCP, Scheme.TLS, Scheme.UDP)
            and not self.first.address.is_multicast
        )

    def of(self, slot: int) -> Listener:
        """Return the listener of a slot; make it where there is none yet.

        Raises:
            OSError: The system gives no further socket there.
        """
        if not self.spreads:
            return self.first
        if slot not in self.by_slot:
            self.by_slot[slot] = twin(self.first) if self.by_slot else self.first
        return self.by_slot[slot]

    def leave(self, slot: int) -> bool:
        """Keep the listener of a slot no longer, if it has one; return whether it has.

        Its worker serves who is queued there, and closes it for every process. Where that was the last one, the port
        stays reserved, by a socket that does not listen: who connects is refused, and a slot may come back.
        """
        listener = self.by_slot.pop(slot, None)
        if listener is None:
            return False
        if self.by_slot:
            if listener is self.first:
                self.first = next(iter(self.by_slot.values()))
        elif listener.kind is Kind.DATAGRAM:
            return True  # another one would receive as well: no worker closes it for every process
        else:
            try:
                self.first = twin(listener, listens=False)
            except OSError:
                return True
        listener.sock.close()
        return True

    @property
    def all(self) -> list[Listener]:
        """Every one of them."""
        return list(self.by_slot.values()) or [self.first]


class Keeper:
    """Opens listeners for workers, and keeps them when those end: what is queued in them waits for the next one.

    A port has a listener for each slot, and the kernel spreads connections over them (SO_REUSEPORT); a peer of UDP
    stays with one as long as their number is the same. Unix sockets, and sockets that were handed down, are shared.

    Args:
        inherited: What a service manager handed down.
    """

    def __init__(self, inherited: Sequence[InheritedSocket] = ()) -> None:
        self.inherited = tuple(inherited)
        self._places: dict[Key, list[Place]] = {}

    def open(
        self,
        slot: int,
        service: str,
        addresses: Sequence[str],
        *,
        backlog: int,
        reuse_address: bool,
        uds_mode: int,
        uds_owner: tuple[int, int] | None = None,
        inherited: Sequence[InheritedSocket] = (),
    ) -> list[Listener]:
        """Return the listeners of a slot on these addresses. What is not open yet is opened: all of it, or none.

        Args:
            slot: Whose.
            service: Two services may both ask the system for a port.
            addresses: As they are configured.
            backlog: As of `open_listeners`. That of an open listener is changed.
            reuse_address: As of `open_listeners`.
            uds_mode: As of `open_listeners`. That of an open socket stays.
            uds_owner: Likewise.
            inherited: Those of the inherited sockets that are the service's.

        Raises:
            ConfigurationError, BindError: As `open_listeners`.
        """
        new = [text for text in addresses if (service, text) not in self._places]
        if new:
            wanted = [parse_address(text) for text in new]
            opened = open_listeners(
                wanted,
                backlog=backlog,
                reuse_address=reuse_address,
                uds_mode=uds_mode,
                uds_owner=uds_owner,
                inherited=_named(wanted, inherited) if len(new) < len(addresses) else inherited,
            )
            for text, address in zip(new, wanted, strict=True):
                self._places[service, text] = [Place(each) for each in opened if each.requested == address]
            for listener in opened:
                if Place(listener).spreads:
                    listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, True)
        found: list[Listener] = []
        for text in dict.fromkeys(addresses):
            for place in self._places[service, text]:
                listener = place.of(slot)
                if listener.backlog and text not in new and listener.requested.scheme is not Scheme.FD:
                    listener.sock.listen(backlog)
                found.append(listener)
        return found

    def is_own(self, listener: Listener) -> bool:
        """Whether it is one slot's alone."""
        return any(listener in place.by_slot.values() for places in self._places.values() for place in places)

    def leave(self, slot: int) -> None:
        """Keep the listeners of a slot no longer, as of `Place.leave`."""
        for places in self._places.values():
            for place in places:
                place.leave(slot)

    def leave_unasked(self, slot: int, asked: Collection[Key]) -> list[Key]:
        """Keep a slot's listeners no longer that its newest worker has not asked for.

        Returns:
            What they are of: the worker before serves who is queued there, and closes them.
        """
        left = []
        for key, places in self._places.items():
            if key not in asked:
                has_left = [place.leave(slot) for place in places]
                left += [key] if any(has_left) else []
        return left

    def files_but(self, used: Collection[Key]) -> list[Key]:
        """Return of which addresses with a file none is used: all slots share their sockets."""
        return [
            key
            for key, places in self._places.items()
            if key not in used and all(place.first.file is not None for place in places)
        ]

    def adopt(self, key: Key, place: int, slot: int, listener: Listener) -> None:
        """Keep a listener that another supervisor has opened: a slot's, or that of all for 0. In their order."""
        places = self._places.setdefault(key, [])
        if place == len(places):
            places.append(Place(listener))
        if slot:
            places[place].by_slot[slot] = listener

    @property
    def slots(self) -> int:
        """The highest number of a slot that has listeners of its own."""
        return max((slot for places in self._places.values() for each in places for slot in each.by_slot), default=0)

    @property
    def places(self) -> Mapping[Key, Sequence[Place]]:
        """What is open, and as what."""
        return self._places

    @property
    def keys(self) -> Collection[Key]:
        """What is open."""
        return self._places.keys()

    @property
    def listeners(self) -> list[Listener]:
        """Every listener."""
        return [each for places in self._places.values() for place in places for each in place.all]

    def close_but(self, used: Collection[Key]) -> list[str]:
        """Close what no worker asks for any more; return which addresses that were."""
        unused = [key for key in self._places if key not in used]
        for key in unused:
            close_listeners(each for place in self._places.pop(key) for each in place.all)
        return [text for _, text in unused]

    def close(self) -> None:
        """Close everything, and remove the files of Unix sockets. May be repeated."""
        self.close_but(())


def twin(listener: Listener, *, listens: bool = True) -> Listener:
    """Open another socket on the same port, to which the kernel gives its share of what comes.

    Args:
        listener: The one that is there.
        listens: False to reserve the port only.

    Raises:
        OSError: The system gives none.
    """
    first = listener.sock
    sock = socket.socket(first.family, first.type, first.proto)
    try:
        if first.family == socket.AF_INET6:
            option = socket.IPPROTO_IPV6, socket.IPV6_V6ONLY
            sock.setsockopt(*option, first.getsockopt(*option))
        for option in _COPIED[listener.kind]:
            sock.setsockopt(*option, first.getsockopt(*option))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, True)
        sock.setblocking(False)
        sock.bind(first.getsockname())
        if listener.backlog and listens:
            sock.listen(listener.backlog)
    except BaseException:
        sock.close()
        raise
    return Listener(sock, listener.requested, listener.address, listener.backlog, listener.name)


# From linux/in.h and linux/in6.h: see `server.sockets`.
_IP_MULTICAST_ALL: Final = 49

_COPIED: Final = {
    Kind.STREAM: ((socket.SOL_SOCKET, socket.SO_REUSEADDR), (socket.IPPROTO_TCP, socket.TCP_NODELAY)),
    Kind.DATAGRAM: ((socket.IPPROTO_IP, _IP_MULTICAST_ALL),),
}


def _named(addresses: Iterable[Address], inherited: Sequence[InheritedSocket]) -> list[InheritedSocket]:
    names = {address.fd for address in addresses if address.scheme is Scheme.FD}
    return [each for each in inherited if each.fd in names or each.name in names]
