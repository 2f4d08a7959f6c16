"""Events as log records, with their fields."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
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


_MEASURES = {
    Pressure.CALM: "all is as usual",
    Pressure.PAUSE: "reading no further what holds bytes, letting the idle go",
    Pressure.REFUSE: "and refusing new connections",
    Pressure.SHED: "and ending the most expensive connections",
}

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
        match event.name:
            case EventName.HANDLER_FAILED:
                error = event.fields["error"]
                assert isinstance(error, BaseException)
                logger.error("handler failed: %s: %s", type(error).__name__, error, exc_info=error, extra=_extra(event))
            case EventName.PROTOCOL_ERROR:
                logger.warning("closing: %s", event.fields["error"], extra=_extra(event))
            case EventName.ACCEPT_FAILED:
                if event.fields["first"]:  # the others are counted until it is over
                    logger.error("cannot accept: %s; trying again", event.fields["error"], extra=_extra(event))
            case EventName.ACCEPT_RECOVERED:
                logger.warning(
                    "accepting again after %s failures in %.1f s",
                    event.fields["failures"],
                    event.fields["duration_s"],
                    extra=_extra(event),
                )
            case EventName.STALLED:
                frames = event.fields["frames"]
                assert isinstance(frames, Sequence)
                logger.warning("a handler holds the loop: %s", ", called by ".join(frames), extra=_extra(event))
            case EventName.PRESSURE:
                used, limit, pressure = (event.fields[name] for name in ("used_bytes", "limit_bytes", "pressure"))
                assert isinstance(used, int)
                assert isinstance(limit, int)
                assert isinstance(pressure, Pressure)
                measure = _MEASURES[pressure]
                logger.warning(
                    "memory: %d%% of %s is used: %s",
                    100 * used // limit,
                    format_size(limit),
                    measure,
                    extra=_extra(event),
                )
            case EventName.REFUSED:
                self._refused(event)
            case EventName.CLOSED:
                reason = event.fields["reason"]
                if reason in _NOTEWORTHY:
                    logger.warning("cut: %s", reason, extra=_extra(event))
                if self._access:
                    access_logger.info("closed: %s", reason, extra=_extra(event))
            case EventName.DRAINING:
                logger.info("draining", extra=_extra(event))
            case EventName.DATAGRAM_DROPPED:
                logger.debug("datagram dropped: %s", event.fields["reason"], extra=_extra(event))
            case _:
                logger.debug("%s", event.name, extra=_extra(event))

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
