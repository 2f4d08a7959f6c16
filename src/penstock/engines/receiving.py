"""How long one message is waited for: what ``receive(timeout_s)`` means, on every engine."""

from ..errors import Phase, TimedOutError


class ReceiveLimit:
    """The time for one message, however many reads it takes.

    Args:
        until: When it ends, on the engine's clock.
        timeout_s: What was asked for, in seconds.

    Attributes:
        is_over: Whether it has ended, and what had come by then was read (law 11): there is nothing more to wait for.
    """

    __slots__ = ("is_over", "timeout_s", "until")

    def __init__(self, until: float, timeout_s: float) -> None:
        self.until = until
        self.timeout_s = timeout_s
        self.is_over = False

    def error(self) -> TimedOutError:
        """Return what is raised then."""
        return TimedOutError(Phase.READ, self.timeout_s)
