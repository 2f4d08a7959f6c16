"""What the connections of a server need to leave it for another process, and to come from one: on every engine."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any, Final, get_type_hints

import msgspec

from ..address import Address, parse_address
from ..config import Limits, Timeouts
from ..config.options import CONNECTION_LIMITS
from ..core.handlers import Handler
from ..core.handover import CannotMoveError, key_of
from ..core.handover.codecs import named, plain_of, remembered_of, text_of
from ..core.handover.law import aged, ages_of
from ..core.handover.snapshot import (
    Snapshot,
    check_places,
    names_as_told,
    packed,
    peer_as_told,
    peer_of,
    proxied,
    proxy_as_told,
    unpacked,
)
from ..core.service import Service
from ..errors import ConfigurationError
from .luggage import Arrival, Luggage

_TIMEOUTS: Final = tuple(each.name for each in dataclasses.fields(Timeouts))


class Mover:
    """Writes snapshots of one server's connections, and reads those of others.

    Args:
        service: What is served.
        timeouts: At first, for each connection.
        limits: Likewise.
    """

    def __init__(self, service: Service[Any], timeouts: Timeouts, limits: Limits) -> None:
        self._service = service
        self._timeouts = timeouts
        self._limits = limits
        self._codec = text_of(service.codec)
        self._states: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(_state_kind(service))
        # Of all connections that have come to one listener it is one object, whose text costs as much as the rest.
        self._addresses: dict[str, Address] = {}
        self._locals: dict[int, tuple[Address, str]] = {}

    @property
    def moves(self) -> bool:
        """Whether its connections go on in another process at all."""
        return self._service.handler.handover

    # -- leaving -------------------------------------------------------------------------------------------------------

    def state_of(self, conn: Any, callbacks: Handler[Any] | None) -> bytes:
        """Return what the handler of a connection has to say to the next one.

        Raises:
            CannotMoveError: It is no plain data.
        """
        if callbacks is None:
            return packed(conn.state)
        return packed(callbacks.on_handover(conn))

    def told_by(self, state: object) -> bytes:
        """Return the state of a conversation's checkpoint as it is told.

        Raises:
            CannotMoveError: It is no plain data.
        """
        return packed(state)

    def snapshot(self, conn: Any, luggage: Luggage, now: float) -> Snapshot:
        """Return all there is to know of a connection that is held.

        Raises:
            CannotMoveError: Something cannot be told.
        """
        text = self._codec if conn.codec is self._service.codec else text_of(conn.codec)
        name = "" if conn.codec is self._service.codec else conn.codec.name
        if name and named(text, name) is None:
            raise CannotMoveError("its codec is one that the next process cannot make")
        try:
            remembered = plain_of(luggage.remembered)
        except TypeError as error:
            raise CannotMoveError(str(error)) from error
        own_limits = conn._levels.limits  # noqa: SLF001 - of every engine's connections
        places = conn.server.places_of(conn)
        check_places(places)
        return Snapshot(
            id=conn.id,
            places=places,
            service=self._service.name,
            local=self._text_of(conn.local),
            peer=peer_as_told(conn.peer),
            codec=text,
            codec_name=name,
            state=luggage.state,
            ages=ages_of(conn, now),
            pending=luggage.pending,
            remembered=remembered,
            owed=luggage.owed,
            waiting=luggage.waiting[0],
            frames=luggage.waiting[1],
            names=names_as_told(luggage.waiting[2]),
            proxy=proxy_as_told(conn.proxy),
            bytes_in=conn.bytes_in,
            bytes_out=conn.bytes_out,
            messages_in=conn.messages_in,
            messages_out=conn.messages_out,
            timeouts=_differences(conn.timeouts, self._timeouts, _TIMEOUTS),
            limits=_differences(own_limits, self._limits, CONNECTION_LIMITS),
        )

    def _text_of(self, local: Address) -> str:
        known = self._locals.get(id(local))
        if known is None:
            known = self._locals[id(local)] = local, str(local)
        return known[1]

    # -- arriving ------------------------------------------------------------------------------------------------------

    def arrival(self, snapshot: Snapshot, passed_s: float) -> Arrival:
        """Check what was told of a connection.

        Args:
            snapshot: What was told.
            passed_s: How long ago.

        Raises:
            CannotMoveError: The code here is another than there, in what matters to this connection.
        """
        service = self._service
        if not self.moves:
            raise CannotMoveError(f"{service.name} takes no connections over")
        codec = service.codec if not snapshot.codec_name else named(snapshot.codec, snapshot.codec_name)
        if codec is None or (codec is service.codec and snapshot.codec != self._codec):
            raise CannotMoveError(f"its codec is {snapshot.codec}, and here it is {self._codec}")
        try:
            return Arrival(
                snapshot=snapshot,
                ages=aged(snapshot.ages, passed_s),
                local=self._address_of(snapshot.local),
                peer=proxied(peer_of(snapshot.peer), snapshot.proxy),
                codec=codec,
                remembered=remembered_of(snapshot.remembered),
                timeouts=self._timeouts.merged(**_known(snapshot.timeouts, _TIMEOUTS)),
                limits=self._limits.merged(**_known(snapshot.limits, CONNECTION_LIMITS)),
                names={place: key_of(key) for place, key in snapshot.names},
                state=unpacked(snapshot.state, self._states),
            )
        except (ConfigurationError, TypeError, ValueError) as error:
            raise CannotMoveError(str(error)) from error

    def _address_of(self, text: str) -> Address:
        known = self._addresses.get(text)
        if known is None:
            known = self._addresses[text] = parse_address(text)
        return known


def _known(own: dict[str, Any], names: Any) -> dict[str, Any]:
    """Leave out what only another version has."""
    return {name: value for name, value in own.items() if name in names}


def _differences(own: object, others: object, names: Any) -> dict[str, Any]:
    if own is others:
        return {}
    found = {name: value for name in names if (value := getattr(own, name)) != getattr(others, name)}
    return {name: float(value) if isinstance(value, float) else value for name, value in found.items()}


def _state_kind(service: Service[Any]) -> Any:
    """Return what the handler takes for the state: what its second argument is annotated with."""
    kind = getattr(service.handler, "handler_class", None)
    if kind is None or not service.handler.handover:
        return Any
    function = kind.on_takeover
    name = list(inspect.signature(function).parameters)[2]
    try:
        return get_type_hints(function).get(name, Any)
    except NameError:  # of a type that is imported for type checkers alone
        return Any
