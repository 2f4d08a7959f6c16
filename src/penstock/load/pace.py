"""When the requests of an open loop are due."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Pace:
    """Requests in a second: `first` of them at the beginning, `last` from `ramp_s` on, evenly changing in between.

    Several processes keep one pace together: each sends every ``stride``-th of its requests.

    Attributes:
        first: Requests in a second at the beginning.
        last: Requests in a second in the end.
        ramp_s: How long the way from the one to the other takes.
        stride: How many processes keep the pace.
        offset: The number of this one, from 0.
    """

    first: float
    last: float
    ramp_s: float = 0.0
    stride: int = 1
    offset: int = 0

    def due(self, seconds: float) -> int:
        """Return how many requests are due ``seconds`` after the beginning; the first is at once."""
        ramp_s = min(seconds, self.ramp_s)
        whole = self.first * ramp_s + self._growth * ramp_s * ramp_s / 2 + self.last * (seconds - ramp_s)
        return max(0, (int(whole) - self.offset) // self.stride + 1)

    def due_at(self, number: int) -> float:
        """Return when one is due, in seconds from the beginning; they are numbered from 0. Infinity if never."""
        wanted = float(number * self.stride + self.offset)
        if not wanted:
            return 0.0
        in_ramp = (self.first + self.last) / 2 * self.ramp_s
        if wanted > in_ramp:
            return self.ramp_s + (wanted - in_ramp) / self.last if self.last else math.inf
        # The root of first·t + growth·t²/2 = wanted, in the form that stays exact where the growth is next to nothing.
        return 2 * wanted / (self.first + math.sqrt(max(0.0, self.first**2 + 2 * self._growth * wanted)))

    def within(self, seconds: float) -> int:
        """Return how many are due in a run of this length."""
        number = self.due(seconds)
        while number and self.due_at(number - 1) >= seconds * (1 - 1e-12):
            number -= 1
        return number

    @property
    def _growth(self) -> float:
        return (self.last - self.first) / self.ramp_s if self.ramp_s else 0.0

    @property
    def before(self) -> Pace:
        """The pace of a warm-up: that of the beginning; where that is nothing, that of the end."""
        rate = self.first or self.last
        return replace(self, first=rate, last=rate, ramp_s=0.0)
