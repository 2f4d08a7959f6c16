"""Why a peer may have closed: how long nothing had been said when it did."""

import time
from collections.abc import Callable
from typing import Final

from ..units import format_duration

# Shorter silences are no reason: peers close when they are done.
LONG_S: Final = 3.0


class Silence:
    """How long a connection has been silent, in both directions.

    Args:
        clock: Where time comes from, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since = clock()
        self._was_sent = False

    def sent(self) -> None:
        """Something was sent."""
        self._was_sent = True
        self._since = self._clock()

    def heard(self) -> None:
        """Something came."""
        self._since = self._clock()

    def likely_cause(self) -> str:
        """Say why the peer may have closed just now, as the end of a sentence; empty where nothing speaks for it."""
        silent_s = self._clock() - self._since
        if silent_s < LONG_S:
            return ""
        lasted = format_duration(float(round(silent_s)))
        if self._was_sent:
            return f" after {lasted} of silence: it may close idle connections"
        return f" after {lasted} without a message: it may wait no longer for the first"
