"""Events as log records, with their fields."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Any

from ..core.events import Event, EventName
from ..core.memory import Pressure
from ..reasons import CloseReason
from ..units import format_size

logger = logging.getLogger("penstock")
access_logger = logging.getLogger("penstock.access")

# Reasons that are the peer's fault and worth a line at once. Resets are not: networks do that all day.
_NOTEWORTHY = frozenset({CloseReason.SLOW_CONSUMER, CloseReason.DRAIN_TIMEOUT})


# Between two lines about refusals, in seconds.
SAY_S = 1.0


class LogObserver:
    """Writes the log: handler errors as errors, broken framing as warnings, the rest below.

    Args:
        access: Whether each connection is logged when it ends, to ``penstock.access``.
    """

    def __init__(self, *, access: bool) -> None:
        self._access = access
        self._unsaid = 0  # refusals since the latest line about one
        self._say_next = -inf

    def observe(self, event: Event, /) -> None:
        """Write one event's record, if it is worth one."""
        name = event.name
        if name is EventName.CLOSED:  # of each connection: before all that is rare
            self._closed(event)
            return
        write = _RARE.get(name)
        if write is not None:
            write(event)
        elif name is EventName.REFUSED:
            self._refused(event)
        elif logger.isEnabledFor(logging.DEBUG):
            logger.debug("%s", name, extra=_extra(event))

    def _closed(self, event: Event) -> None:
        reason = event.fields["reason"]
        if reason in _NOTEWORTHY:
            logger.warning("cut: %s", reason, extra=_extra(event))
        if self._access and access_logger.isEnabledFor(logging.INFO):
            access_logger.info("closed: %s", reason, extra=_extra(event))

    def _refused(self, event: Event) -> None:
        """Say it once a second at most: whoever floods the gate must not flood the log."""
        self._unsaid += 1
        now = time.monotonic()
        if now >= self._say_next:
            more = f" and {self._unsaid - 1} more" if self._unsaid > 1 else ""
            reason, peer = event.fields["reason"], event.fields["peer"]
            logger.warning("refused %s%s: %s", peer, more, reason, extra=_extra(event) | {"peer": str(peer)})
            self._unsaid = 0
            self._say_next = now + SAY_S


def _extra(event: Event) -> dict[str, Any]:
    extra: dict[str, Any] = {"event": str(event.name)}
    if event.connection is not None:
        extra["conn_id"] = event.connection.id
        extra["peer"] = str(event.connection.peer)
        extra["listener"] = str(event.connection.local)
    for key, value in event.fields.items():
        if key == "listener":
            extra["listener"] = str(getattr(value, "address", value))
        elif key != "error":
            extra[key] = value
    return extra


# -- what is rare, one function each -----------------------------------------------------------------------------------


def _handler_failed(event: Event) -> None:
    error = event.fields["error"]
    assert isinstance(error, BaseException)
    logger.error("handler failed: %s: %s", type(error).__name__, error, exc_info=error, extra=_extra(event))


def _protocol_error(event: Event) -> None:
    logger.warning("closing: %s", event.fields["error"], extra=_extra(event))


def _accept_failed(event: Event) -> None:
    if event.fields.get("first", True):  # the others are counted until it is over
        logger.error("cannot accept: %s; trying again", event.fields["error"], extra=_extra(event))


def _accept_recovered(event: Event) -> None:
    fields = event.fields
    text = "accepting again after %s failures in %.1f s"
    logger.warning(text, fields["failures"], fields["duration_s"], extra=_extra(event))


def _stalled(event: Event) -> None:
    frames = event.fields["frames"]
    assert isinstance(frames, Sequence)
    logger.warning("a handler holds the loop: %s", ", called by ".join(frames), extra=_extra(event))


_MEASURES = {
    Pressure.CALM: "all is as usual",
    Pressure.PAUSE: "reading no further what holds bytes, letting the idle go",
    Pressure.REFUSE: "and refusing new connections",
    Pressure.SHED: "and ending the most expensive connections",
}


def _pressure(event: Event) -> None:
    used, limit, pressure = (event.fields[name] for name in ("used_bytes", "limit_bytes", "pressure"))
    assert isinstance(used, int)
    assert isinstance(limit, int)
    assert isinstance(pressure, Pressure)
    share, measure = 100 * used // limit, _MEASURES[pressure]
    logger.warning("memory: %d%% of %s is used: %s", share, format_size(limit), measure, extra=_extra(event))


def _draining(event: Event) -> None:
    logger.info("draining", extra=_extra(event))


def _datagram_dropped(event: Event) -> None:
    if logger.isEnabledFor(logging.DEBUG):
        logger.debug("datagram dropped: %s", event.fields["reason"], extra=_extra(event))


_RARE: Mapping[EventName, Callable[[Event], None]] = {
    EventName.HANDLER_FAILED: _handler_failed,
    EventName.PROTOCOL_ERROR: _protocol_error,
    EventName.ACCEPT_FAILED: _accept_failed,
    EventName.ACCEPT_RECOVERED: _accept_recovered,
    EventName.STALLED: _stalled,
    EventName.PRESSURE: _pressure,
    EventName.DRAINING: _draining,
    EventName.DATAGRAM_DROPPED: _datagram_dropped,
}
