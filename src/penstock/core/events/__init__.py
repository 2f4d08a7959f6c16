"""What happens: one small class for each kind of event, with its fields. Logs, counters and tests read the same ones.

An event is not to be changed. It is no frozen dataclass all the same: that costs three times as much to make, and two
are made for each connection.
"""

from typing import TYPE_CHECKING

from ...lazy import import_on_first_use

if TYPE_CHECKING:
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
        not_decoded,
        not_handled,
    )
    from .datagrams import DatagramDropped, DatagramHandled, ReceiveFailed
    from .event import Event, EventName, ListenerAddress, Observer
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
    from .table import EVENTS

__all__ = [
    "EVENTS",
    "AcceptFailed",
    "AcceptRecovered",
    "Accepted",
    "BadMessage",
    "Closed",
    "CodecFailed",
    "DatagramDropped",
    "DatagramHandled",
    "Draining",
    "Event",
    "EventName",
    "FramesSkipped",
    "FramingBroken",
    "HandlerFailed",
    "HandshakeFailed",
    "ListenerAddress",
    "Listening",
    "MessageDropped",
    "Observer",
    "OrphanCancelled",
    "OrphanOverdue",
    "Orphaned",
    "PressureChanged",
    "ReadingPaused",
    "ReadingResumed",
    "ReceiveFailed",
    "Refused",
    "Resumed",
    "StallEnded",
    "Stalled",
    "Stopped",
    "Suspended",
    "TakenOver",
    "TaskFailed",
    "not_decoded",
    "not_handled",
]

# A client is told of its connections alone.
__getattr__ = import_on_first_use(
    globals(),
    {
        "AcceptFailed": "servers",
        "AcceptRecovered": "servers",
        "Accepted": "connections",
        "BadMessage": "connections",
        "Closed": "connections",
        "CodecFailed": "connections",
        "DatagramDropped": "datagrams",
        "DatagramHandled": "datagrams",
        "Draining": "servers",
        "EVENTS": "table",
        "Event": "event",
        "EventName": "event",
        "FramesSkipped": "connections",
        "FramingBroken": "connections",
        "HandlerFailed": "connections",
        "HandshakeFailed": "connections",
        "ListenerAddress": "event",
        "Listening": "servers",
        "MessageDropped": "connections",
        "Observer": "event",
        "OrphanCancelled": "connections",
        "OrphanOverdue": "connections",
        "Orphaned": "connections",
        "PressureChanged": "servers",
        "ReadingPaused": "connections",
        "ReadingResumed": "connections",
        "ReceiveFailed": "datagrams",
        "Refused": "servers",
        "Resumed": "servers",
        "StallEnded": "servers",
        "Stalled": "servers",
        "Stopped": "servers",
        "Suspended": "servers",
        "TakenOver": "connections",
        "TaskFailed": "connections",
        "not_decoded": "connections",
        "not_handled": "connections",
    },
)
