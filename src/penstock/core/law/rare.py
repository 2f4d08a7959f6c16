# cython: boundscheck=True, nonecheck=True
# Python code may make these types bare, and call any method with anything: that raises, and reads no memory of others.
"""What few connections have at a time, kept apart from the others' state, so that an idle connection is small."""

from __future__ import annotations

from math import inf

from ..send_queue import SendQueue
from .silence import Silence


class Rare:
    """The state of a connection that shakes hands, is owed output, is asked, sends too fast, or has its own end.

    Attributes:
        asking: How many replies of its peer are waited for.
        message_at_work: A message of it is at work while they are, and `_whose_move` says that it is the peer's.
        detail: Why it closes, in its handler's words; empty for nothing.
        refused_at: When its peer broke the framing, if its handler may have a last word; infinity for not at all.
        tasks: How many background tasks its peer is owed the work of.
        waits_for_tasks: It closes when they have ended: the peer has sent EOF, and all before it was handled.
        handshake_since: When its handshake began; infinity for none.
        handshakes: Whose it is: bits of `deadlines.OWN` and `deadlines.OF_LAYER`.
        queue: What waits behind the link; None until anything does.
        owed_bytes: What the peer is owed, as the budget of all peers has it; not told for each byte.
        taken_bytes: What the kernel had taken when the peer's time to read began to count.
        full_at: When its bucket of messages will be full again.
        rate_held: Messages are held back until there is a token.
        silence: How long it has lasted; None where the codec takes no silence for the end of a message.
    """

    __slots__ = (
        "asking",
        "detail",
        "full_at",
        "handshake_since",
        "handshakes",
        "message_at_work",
        "owed_bytes",
        "queue",
        "rate_held",
        "refused_at",
        "silence",
        "taken_bytes",
        "tasks",
        "waits_for_tasks",
    )

    def __init__(self) -> None:
        self.asking = 0
        self.message_at_work = False
        self.detail = ""
        self.handshake_since = self.refused_at = inf
        self.handshakes = 0
        self.queue: SendQueue | None = None
        self.owed_bytes = 0
        self.taken_bytes = 0
        self.full_at = 0.0
        self.rate_held = False
        self.tasks = 0
        self.waits_for_tasks = False
        self.silence: Silence | None = None
