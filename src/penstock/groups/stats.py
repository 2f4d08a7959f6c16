"""What a group has counted."""

from __future__ import annotations

from collections import Counter


class GroupStats:
    """Counts since the group was made. Each message for each member is in one of the last three, or still waits.

    Attributes:
        published: Messages that were published.
        deliveries: Messages for one member each, that is: what `publish` said together.
        delivered: Those that were taken to be sent.
        dropped: Those that a slow member was not sent, by policy; ``refused`` where its codec or its kind of transport
            does not send them.
        gone: Those for members that had left before.
        elsewhere: Messages for one member each in other workers, as far as they have told: they count them as their
            ``deliveries`` when they come.
        unsent: Those of them that did not go there, for that worker was too far behind, or had ended.
    """

    __slots__ = ("delivered", "deliveries", "dropped", "elsewhere", "gone", "published", "unsent")

    def __init__(self) -> None:
        self.published = 0
        self.deliveries = 0
        self.delivered = 0
        self.dropped: Counter[str] = Counter()
        self.gone = 0
        self.elsewhere = 0
        self.unsent = 0

    @property
    def waiting(self) -> int:
        """How many messages for one member each have not come so far."""
        return self.deliveries - self.delivered - self.dropped.total() - self.gone

    def __repr__(self) -> str:
        parts = [f"{name}={getattr(self, name)}" for name in ("published", "deliveries", "delivered", "gone")]
        return f"GroupStats({', '.join(parts)}, dropped={dict(self.dropped)})"
