"""Every kind of event by its name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from .connections import (
    Accepted,
    BadMessage,
    Closed,
    CodecFailed,
    FramesSkipped,
    FramingBroken,
    HandlerFailed,
    HandshakeFailed,
    MessageDropped,
    OrphanCancelled,
    Orphaned,
    OrphanOverdue,
    ReadingPaused,
    ReadingResumed,
    TakenOver,
    TaskFailed,
)
from .datagrams import DatagramDropped, DatagramHandled, ReceiveFailed
from .event import Event, EventName
from .servers import (
    AcceptFailed,
    AcceptRecovered,
    Draining,
    Listening,
    PressureChanged,
    Refused,
    Resumed,
    Stalled,
    StallEnded,
    Stopped,
    Suspended,
)

EVENTS: Final[Mapping[EventName, type[Event]]] = {
    kind.name: kind
    for kind in (
        Accepted,
        TakenOver,
        ReadingPaused,
        ReadingResumed,
        MessageDropped,
        HandlerFailed,
        FramingBroken,
        CodecFailed,
        FramesSkipped,
        HandshakeFailed,
        BadMessage,
        TaskFailed,
        Closed,
        Orphaned,
        OrphanOverdue,
        OrphanCancelled,
        DatagramHandled,
        ReceiveFailed,
        DatagramDropped,
        Listening,
        Refused,
        AcceptFailed,
        AcceptRecovered,
        Stalled,
        StallEnded,
        PressureChanged,
        Suspended,
        Resumed,
        Draining,
        Stopped,
    )
}
