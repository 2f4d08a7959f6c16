"""Events as log records, with their fields."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from math import inf
from typing import Any

from ..core.events import (
    Accepted,
    AcceptFailed,
    AcceptRecovered,
    BadMessage,
    Closed,
    CodecFailed,
    CountingObserver,
    DatagramDropped,
    DatagramHandled,
    Draining,
    Event,
    FramesSkipped,
    FramingBroken,
    HandlerFailed,
    HandshakeFailed,
    OrphanCancelled,
    OrphanOverdue,
    PressureChanged,
    ReceiveFailed,
    Refused,
    Stalled,
    StallEnded,
    TaskFailed,
)
from ..core.memory import Pressure
from ..core.texts import text_of
from ..engines.endpoint import KERNEL_QUEUE_FULL
from ..engines.replies import REPLY_TOO_LONG
from ..errors import WrongReplyError
from ..reasons import CloseReason
from ..units import format_size

logger = logging.getLogger("penstock")
access_logger = logging.getLogger("penstock.access")

# Reasons that are the peer's fault and worth a line at once. Resets are not: networks do that all day.
_NOTEWORTHY = frozenset({CloseReason.SLOW_CONSUMER, CloseReason.DRAIN_TIMEOUT})


# Most lines in a second about what peers can bring about as often as they like; a traceback counts as one.
LINES_PER_SECOND = 10
REFUSALS_PER_SECOND = 1
OVERFLOWS_PER_SECOND = 1
# Scanners come from everywhere and try everything: each host gets one line in this many seconds.
SOURCE_S = 60.0
MAX_SOURCES = 1024


# What a peer speaks that broke the framing with its first bytes.
_HINTS = {
    CloseReason.LOOKS_LIKE_TLS: "; the peer speaks TLS: bind tls:// and give a certificate, or have it speak plain",
    CloseReason.LOOKS_LIKE_HTTP: "; the peer speaks HTTP",
    CloseReason.LOOKS_LIKE_PROXY: "; it is a PROXY header: name the proxy with --proxy-from, or have it send none",
}


class Pace:
    """Lines of one kind, at a limited rate: the others are counted, and the next line tells how many.

    Args:
        lines: How many may be written in each second.
        time: Where time comes from, in seconds.
    """

    def __init__(self, lines: int, time: Callable[[], float]) -> None:
        self._lines = lines
        self._time = time
        self._since = -inf
        self._left = 0
        self._unsaid = 0

    def more(self) -> str | None:
        """Return how many were not written before this one, in words; None when this one is not to be written."""
        now = self._time()
        if now >= self._since + 1.0:
            self._since = now
            self._left = self._lines
        if not self._left:
            self._unsaid += 1
            return None
        self._left -= 1
        unsaid, self._unsaid = self._unsaid, 0
        return f" (and {unsaid} more)" if unsaid else ""


class PacePerSource:
    """Lines about peers: one a minute for each host; the others are counted, and its next line tells.

    Args:
        time: Where time comes from, in seconds.
    """

    def __init__(self, time: Callable[[], float]) -> None:
        self._time = time
        self._all = Pace(LINES_PER_SECOND, time)
        self._said: dict[str, tuple[float, int]] = {}

    def more(self, host: str) -> str | None:
        """As of `Pace`."""
        now = self._time()
        at, unsaid = self._said.get(host, (-inf, 0))
        if now < at + SOURCE_S or self._all.more() is None:
            if host in self._said:
                self._said[host] = at, unsaid + 1
            return None
        if len(self._said) >= MAX_SOURCES:
            self._said.clear()
        self._said[host] = now, 0
        return f" (and {unsaid} more)" if unsaid else ""


class LogObserver(CountingObserver):
    """Writes the log: handler errors as errors, broken framing as warnings, the rest below.

    Args:
        access: Whether each connection is logged when it ends, to ``penstock.access``.
        course: Whether it is logged that the server drains.
        time: Where time comes from, in seconds.
    """

    def __init__(self, *, access: bool, course: bool = True, time: Callable[[], float] = time.monotonic) -> None:
        self._access = access
        self._course = course
        self._refusals = Pace(REFUSALS_PER_SECOND, time)
        self._cuts = Pace(LINES_PER_SECOND, time)
        self._failures = Pace(LINES_PER_SECOND, time)
        self._violations = Pace(LINES_PER_SECOND, time)
        self._orphans = Pace(LINES_PER_SECOND, time)
        self._overflows = Pace(OVERFLOWS_PER_SECOND, time)
        self._overflowed = 0  # datagrams that the kernel dropped, not told of yet
        self._handshakes = PacePerSource(time)

    def only_counts(self, kind: type[Event]) -> bool:
        """Say whether an event of a kind leaves no record now, whatever is in it."""
        if kind is not DatagramHandled or logger.isEnabledFor(logging.DEBUG):
            return False
        return type(self).observe is LogObserver.observe  # a class of the user's may do more than write records

    def observe(self, event: Event, /) -> None:
        """Write one event's record, if it is worth one."""
        kind = type(event)
        if kind is Closed:  # of each connection, or datagram, as the next: before all that is rare
            self._closed(event)  # type: ignore[arg-type]  # mypy narrows no type by identity
            return
        if kind is Accepted or kind is DatagramHandled:
            if logger.isEnabledFor(logging.DEBUG):
                logger.debug("%s", event.name, extra=_extra(event))
            return
        match event:
            case Refused():
                self._refused(event)
            case HandlerFailed():
                self._handler_failed(event)
            case TaskFailed():
                self._task_failed(event)
            case CodecFailed():
                self._codec_failed(event)
            case FramingBroken():
                self._framing_broken(event)
            case HandshakeFailed():
                self._handshake_failed(event)
            case AcceptFailed():
                if event.first:  # the others are counted until it is over
                    logger.error("cannot accept connections: %s; retrying", event.error, extra=_extra(event))
            case AcceptRecovered():
                text = "accepting again after %s failures in %.3f s"
                logger.warning(text, event.failures, event.duration_s, extra=_extra(event))
            case Stalled():
                logger.warning(
                    "a handler blocks the event loop: %s", ", called by ".join(event.frames), extra=_extra(event)
                )
            case StallEnded():
                logger.info("the event loop is free again after %.3f s", event.duration_s, extra=_extra(event))
            case ReceiveFailed():
                if event.first:
                    logger.error("cannot receive datagrams: %s; retrying", event.error, extra=_extra(event))
            case PressureChanged():
                _pressure_changed(event)
            case BadMessage():
                self._bad_message(event)
            case FramesSkipped():
                self._frames_skipped(event)
            case OrphanOverdue() | OrphanCancelled():
                self._orphan(event)
            case Draining() if self._course:
                logger.info("draining", extra=_extra(event))
            case DatagramDropped():
                self._datagram_dropped(event)
            case _ if logger.isEnabledFor(logging.DEBUG):
                logger.debug("%s", event.name, extra=_extra(event))

    # -- what peers can bring about: a flood of the server must not flood its log --------------------------------------

    def _orphan(self, event: OrphanOverdue | OrphanCancelled) -> None:
        if (more := self._orphans.more()) is not None:
            what = "is cancelled" if type(event) is OrphanCancelled else "is still at work"
            text = "a handler %s %.3f s after its connection ended: %s%s"
            logger.warning(text, what, event.waited_s, event.place, more, extra=_extra(event))

    def _closed(self, event: Closed) -> None:
        reason = event.reason
        if reason is CloseReason.HANDED_OVER:  # its end is told by the process that it ends in
            level = logging.DEBUG
        else:
            level = logging.WARNING if reason in _NOTEWORTHY else logging.INFO
        if self._access and access_logger.isEnabledFor(level):
            what = f"{reason} ({event.detail})" if event.detail else str(reason)
            access_logger.log(level, "closed: %s", what, extra=_extra(event))
        elif level == logging.WARNING and (more := self._cuts.more()) is not None:
            logger.warning("cut: %s%s", reason, more, extra=_extra(event))

    def _refused(self, event: Refused) -> None:
        more = self._refusals.more()
        if more is not None:
            peer = event.peer
            logger.warning("refused %s: %s%s", peer, event.reason, more, extra=_extra(event) | {"peer": str(peer)})

    def _handler_failed(self, event: HandlerFailed) -> None:
        more = self._failures.more()
        if more is not None:
            error = event.error
            if isinstance(error, WrongReplyError):  # its traceback has nothing of the user's
                logger.error("%s%s", error, more, extra=_extra(event))
                return
            text = "handler failed: %s: %s%s"
            logger.error(text, type(error).__name__, text_of(error, str), more, exc_info=error, extra=_extra(event))

    def _task_failed(self, event: TaskFailed) -> None:
        more = self._failures.more()
        if more is not None:
            error = event.error
            text = "task %s failed: %s: %s%s"
            arguments = event.task, type(error).__name__, text_of(error, str), more
            logger.error(text, *arguments, exc_info=error, extra=_extra(event))

    def _frames_skipped(self, event: FramesSkipped) -> None:
        more = self._violations.more()
        if more is not None:
            logger.warning("skipped %d frame(s) over the limit%s", event.count, more, extra=_extra(event))

    def _bad_message(self, event: BadMessage) -> None:
        more = self._violations.more()
        if more is not None:
            logger.warning("skipping a message: %s%s", text_of(event.error, str), more, extra=_extra(event))

    def _codec_failed(self, event: CodecFailed) -> None:
        more = self._failures.more()
        if more is not None:
            place = event.error.__cause__ or event.error  # where the codec itself raised, if it did
            logger.error("codec failed: %s%s", text_of(event.error, str), more, exc_info=place, extra=_extra(event))

    def _datagram_dropped(self, event: DatagramDropped) -> None:
        if event.reason == REPLY_TOO_LONG:
            if (more := self._failures.more()) is not None:
                logger.error("a reply is too long for a datagram%s", more, extra=_extra(event))
        elif event.reason == KERNEL_QUEUE_FULL:
            self._overflowed += event.count
            if self._overflows.more() is not None:
                count, self._overflowed = self._overflowed, 0
                text = "the kernel dropped %d datagram(s): they came faster than they were read; raise --receive-buffer"
                logger.warning(text, count, extra=_extra(event))
        elif logger.isEnabledFor(logging.DEBUG):
            logger.debug("datagram dropped: %s", event.reason, extra=_extra(event))

    def _handshake_failed(self, event: HandshakeFailed) -> None:
        peer = event.connection.peer
        if (more := self._handshakes.more(peer.host)) is not None:
            logger.warning("no handshake with %s: %s%s", peer, event.error, more, extra=_extra(event))

    def _framing_broken(self, event: FramingBroken) -> None:
        more = self._violations.more()
        if more is not None:
            reason = getattr(event.error, "reason", None)
            hint = _HINTS.get(reason, "") if isinstance(reason, CloseReason) else ""
            what = "refused" if event.connection.is_datagram else "closing"
            logger.warning("%s: %s%s%s", what, text_of(event.error, str), hint, more, extra=_extra(event))


def _extra(event: Event) -> dict[str, Any]:
    extra: dict[str, Any] = {"event": str(event.name)}
    if event.connection is not None:
        extra["conn_id"] = event.connection.id
        extra["peer"] = str(peer := event.connection.peer)
        extra["listener"] = str(event.connection.local)
        proxy = getattr(peer, "proxy", None)
        if proxy is not None:
            extra["proxy"] = str(proxy.proxy)
    for key, value in event.fields().items():
        if key == "listener":
            extra["listener"] = str(getattr(value, "address", value))
        elif key != "error":
            extra[key] = value
    return extra


_MEASURES = {
    Pressure.CALM: "back to normal",
    Pressure.PAUSE: "no longer reading from connections with buffered input, closing idle ones",
    Pressure.REFUSE: "also refusing new connections",
    Pressure.SHED: "also closing the costliest connections",
}


def _pressure_changed(event: PressureChanged) -> None:
    limit, measure = event.limit_bytes, _MEASURES[event.pressure]
    share = 100 * event.used_bytes // limit
    logger.warning("memory: %d%% of %s is used: %s", share, format_size(limit), measure, extra=_extra(event))
