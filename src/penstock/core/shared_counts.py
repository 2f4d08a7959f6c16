"""What the gates of several processes count together, in memory that they share.

Each process has a cell that it alone writes: what it has let in, and how often under which key. A decision reads the
cells of all, under a lock that the kernel frees when its holder dies. So a process that is killed leaves a cell behind,
which whoever keeps the memory clears, and nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager
from hashlib import blake2b
from typing import Final, Protocol

from ..reasons import Refusal
from ..units import Rate
from .buckets import SLACK_S

# The numbers of a cell, by their place. `HELD`: a place taken before accept(2). `WAITS`: whether it waits for a place.
OPEN, RESERVED, HANDSHAKES, ORPHANS, HELD, WAITS = range(6)
CELL_NUMBERS: Final = 8

# Of one process, if nobody says otherwise. Those beyond three quarters of it are counted by their own process alone.
KEYS: Final = 2**17

# Of the rate per address, in each of two generations: see `core.buckets`.
RATE_KEYS: Final = 2**16

# The numbers of all: how full the bucket of all is, which of the generations is the newer one, how many keys it has,
# since when it is; and whether any gate lets those wait whom it has no place for.
FULL_AT, LATELY, LATELY_KEYS, SINCE, ANY_WAITS = range(5)
COMMON_NUMBERS: Final = 8


class Cell(Protocol):
    """What one process counts."""

    @property
    def numbers(self) -> memoryview:
        """As above."""

    @property
    def keys(self) -> memoryview:
        """Pairs of a key's number, 0 for none, and how many are in under it. There is room for a power of two."""

    def clear_keys(self) -> None:
        """Make all of ``keys`` 0."""


class Memory(Protocol):
    """What the processes share."""

    @property
    def own(self) -> Cell:
        """The cell of this process."""

    @property
    def lock(self) -> AbstractContextManager[None]:
        """Held while a decision is taken. Not to be taken twice."""

    @property
    def secret(self) -> bytes:
        """Keys are hashed with it, so that nobody can choose two that are one."""

    @property
    def common(self) -> memoryview:
        """The numbers of all: `FULL_AT` and `SINCE` are in ``common_times``."""

    @property
    def common_times(self) -> memoryview[float]:
        """The same memory, as floating-point numbers."""

    @property
    def rate_keys(self) -> memoryview:
        """For both generations, pairs of a key's number and of when its bucket will be full again."""

    @property
    def rate_times(self) -> memoryview[float]:
        """The same memory, as floating-point numbers."""

    def others(self) -> Sequence[Cell]:
        """Return the cells of the other processes."""

    def clear_rate_keys(self, generation: int) -> None:
        """Make one generation 0."""

    def tell(self) -> None:
        """Wake all who wait for a place, in other processes."""

    def listen(self, wanted: bool, woken: Callable[[], object]) -> None:
        """Have ``woken`` called when a place has become free in another process, or no longer."""


class SharedCounts:
    """The connections of several processes, as the gate of one of them sees and counts them: see `Counts`.

    Args:
        memory: What they share.
        most_here: How many connections this process can have, whatever the others do; None for no bound.
        woken: Called in the loop when a place may have become free elsewhere.

    Attributes:
        lock: Held by the gate while it decides.
        refused: Refusals of this process so far, by reason.
    """

    __slots__ = (
        "_memory",
        "_most_here",
        "_most_keys",
        "_most_used",
        "_of_key",
        "_own",
        "_places",
        "_used",
        "_woken",
        "lock",
        "refused",
    )

    def __init__(self, memory: Memory, most_here: int | None, woken: Callable[[], object]) -> None:
        self._memory = memory
        self._own = memory.own.numbers
        self._most_here = most_here
        self._woken = woken
        self.lock = memory.lock
        self.refused: Counter[Refusal] = Counter()
        self._of_key: dict[Hashable, int] = {}
        self._places: dict[Hashable, int] = {}  # where each of them is in the cell
        self._used = 0  # places of the cell that have a key, or had one
        room = len(memory.own.keys) // 2
        # Of the eighth between the two a rebuild, which takes long, frees all: it is paid by as many keys.
        self._most_keys, self._most_used = room * 3 // 4, room * 7 // 8

    # -- reading -------------------------------------------------------------------------------------------------------

    def _sum(self, number: int) -> int:
        return self._own[number] + sum(cell.numbers[number] for cell in self._memory.others())

    @property
    def open(self) -> int:
        """Connections that were admitted anywhere, and the places that other processes hold for the next ones."""
        return self._own[OPEN] + sum(cell.numbers[OPEN] + cell.numbers[HELD] for cell in self._memory.others())

    @property
    def orphans(self) -> int:
        """Those anywhere whose transports are gone and whose handlers are not."""
        return self._sum(ORPHANS)

    @property
    def reserved(self) -> int:
        """Those anywhere that are of the rules' ``reserve_for``."""
        return self._sum(RESERVED)

    @property
    def handshakes(self) -> int:
        """Those anywhere that have not finished their handshake."""
        return self._sum(HANDSHAKES)

    @property
    def is_full_here(self) -> bool:
        """Whether this process has no room, wherever else there is."""
        return self._most_here is not None and self._own[OPEN] >= self._most_here

    def of_key(self, key: Hashable) -> int:
        """Return how many of those who are counted under ``key`` are in, anywhere."""
        number = self._number(key)
        return self._of_key.get(key, 0) + sum(number_in(cell.keys, number) for cell in self._memory.others())

    def _number(self, key: Hashable) -> int:
        digest = blake2b(repr(key).encode(), digest_size=8, key=self._memory.secret).digest()
        return int.from_bytes(digest, "little") or 1

    # -- writing -------------------------------------------------------------------------------------------------------

    def enter(self, key: Hashable, reserved: int) -> None:
        """Count one who is let in, under the lock: see `Counts.enter`."""
        own = self._own
        self._enter_key(key)
        own[OPEN] += 1
        own[HELD] = 0
        if reserved:
            own[RESERVED] += 1

    def part(self, reserved: int) -> None:
        """The transport of one who was let in is gone, and its handler is not: see `Counts.part`."""
        own = self._own
        own[ORPHANS] += 1
        own[RESERVED] -= reserved
        self._change(OPEN)

    def leave(self, key: Hashable, reserved: int, orphan: bool = False) -> None:
        """One who was let in has left: see `Counts.leave`."""
        own = self._own
        self._leave_key(key)
        if orphan:
            own[ORPHANS] -= 1
        else:
            own[RESERVED] -= reserved
            self._change(OPEN)

    def move(self, key: Hashable, reserved: int, to: Hashable, to_reserved: int) -> None:
        """Count one who is in under another key, under the lock: see `Counts.move`. A place that is held stays so."""
        if key != to:
            self._enter_key(to)
            self._leave_key(key)
        self._own[RESERVED] += to_reserved - reserved

    def begin_handshake(self) -> None:
        """One who was let in begins a handshake."""
        self._own[HANDSHAKES] += 1

    def end_handshake(self) -> None:
        """Its handshake is over."""
        self._change(HANDSHAKES)

    def _change(self, number: int) -> None:
        """Count one less of what there may be a limit of, and tell those who wait elsewhere."""
        own, memory = self._own, self._memory
        if not memory.common[ANY_WAITS]:
            own[number] -= 1
            return
        with self.lock:  # who finds no place says under it that it waits
            own[number] -= 1
            waits = any(cell.numbers[WAITS] for cell in memory.others())
        if waits:
            memory.tell()

    # -- those who wait ------------------------------------------------------------------------------------------------

    def may_wait(self) -> None:
        """From now on there may be processes that leave peers in the backlog."""
        self._memory.common[ANY_WAITS] = 1

    def waits(self, waiting: bool) -> None:
        """This process waits for a place, or does not; under the lock."""
        if self._own[WAITS] != waiting:
            self._own[WAITS] = int(waiting)
            self._memory.listen(waiting, self._woken)

    def hold(self) -> None:
        """Take a place for whoever is accepted next, under the lock. One at most is held."""
        self._own[HELD] = 1

    @property
    def holds(self) -> bool:
        """Whether a place is held."""
        return bool(self._own[HELD])

    def let_go(self) -> None:
        """Give the place back: no connection was accepted for it."""
        if self._own[HELD]:
            self._change(HELD)

    # -- rates ---------------------------------------------------------------------------------------------------------

    def bucket(self, rate: Rate, *, is_new: bool) -> SharedBucket:
        """Return the bucket that all take from, under the lock.

        Args:
            rate: How often.
            is_new: Whether it is to be full.
        """
        if is_new:
            self._memory.common_times[FULL_AT] = 0.0
        return SharedBucket(rate, self._memory)

    def buckets(self, rate: Rate, *, is_new: bool) -> SharedBuckets:
        """Return the buckets of all addresses; the arguments are those of `bucket`."""
        found = SharedBuckets(rate, self._memory, self._number)
        if is_new:
            found.fill()
        return found

    # -- the keys of the own cell --------------------------------------------------------------------------------------

    def _enter_key(self, key: Hashable) -> None:
        if key is not None:
            # As in `Counts.enter`, a number is read and written without a call between: a signal handler may run there.
            of_key = self._of_key
            if key not in of_key:
                self._find_place(key)
            of_key[key] = of_key[key] + 1 if key in of_key else 1
            self._write(key)

    def _leave_key(self, key: Hashable) -> None:
        if key is not None:
            of_key = self._of_key
            left = of_key[key] - 1
            if left:
                of_key[key] = left
            else:
                del of_key[key]
            self._write(key)
            if key not in of_key:
                self._places.pop(key, None)

    def _find_place(self, key: Hashable) -> bool:
        """Give a key a place in the cell; return False where there is none: this process alone counts it then."""
        if len(self._places) >= self._most_keys:
            return False
        if self._used >= self._most_used:
            self._rebuild()
        keys, number = self._memory.own.keys, self._number(key)
        room = len(keys) // 2
        place = number % room
        # One that nobody is in under any more may be taken: nobody is in under the key itself.
        while keys[2 * place] and keys[2 * place + 1]:
            place = (place + 1) % room
        self._used += not keys[2 * place]
        keys[2 * place] = number
        self._places[key] = place
        return True

    def _rebuild(self) -> None:
        """Drop the keys that nobody is in under. Others do not read meanwhile: the lock is held."""
        keys = self._memory.own.keys
        room = len(keys) // 2
        numbers = [keys[2 * place] for place in self._places.values()]
        self._memory.own.clear_keys()
        for key, number in zip(self._places, numbers, strict=True):
            place = number % room
            while keys[2 * place]:
                place = (place + 1) % room
            keys[2 * place], keys[2 * place + 1] = number, self._of_key[key]
            self._places[key] = place  # a dict may have its values replaced while it is gone through
        self._used = len(self._places)

    def _write(self, key: Hashable) -> None:
        keys, of_key, places = self._memory.own.keys, self._of_key, self._places
        if key in places:
            keys[2 * places[key] + 1] = of_key[key] if key in of_key else 0  # noqa: SIM401  # `get` would be a call


def number_in(keys: memoryview, number: int) -> int:
    """Return what the cell of another process has for a key: how many are in under it; 0 for none."""
    room = len(keys) // 2
    place = number % room
    while found := keys[2 * place]:
        if found == number:
            count: int = keys[2 * place + 1]
            return count
        place = (place + 1) % room
    return 0


class SharedBucket:
    """A `Bucket` that several processes take from, each under the lock."""

    __slots__ = ("_depth_s", "_step_s", "_times")

    def __init__(self, rate: Rate, memory: Memory) -> None:
        self._step_s = rate.period_s / rate.count
        self._depth_s = rate.period_s - self._step_s + SLACK_S
        self._times = memory.common_times

    def ready_at(self) -> float:
        """Return the instant from which on there is a token; it may have passed."""
        full_at: float = self._times[FULL_AT]
        return full_at - self._depth_s

    def take(self, now: float) -> bool:
        """Take a token. Return whether there was one."""
        full_at: float = self._times[FULL_AT]
        if full_at < now:
            full_at = now
        elif full_at - now > self._depth_s:
            return False
        self._times[FULL_AT] = full_at + self._step_s
        return True

    def give_back(self) -> None:
        """Put the token back that was taken last."""
        self._times[FULL_AT] -= self._step_s


class SharedBuckets:
    """`Buckets` that several processes take from, each under the lock."""

    __slots__ = ("_depth_s", "_memory", "_number", "_period_s", "_step_s")

    def __init__(self, rate: Rate, memory: Memory, number: Callable[[Hashable], int]) -> None:
        self._step_s = rate.period_s / rate.count
        self._depth_s = rate.period_s - self._step_s + SLACK_S
        self._period_s = rate.period_s + SLACK_S
        self._memory = memory
        self._number = number

    def fill(self) -> None:
        """Fill every bucket."""
        memory = self._memory
        for generation in (0, 1):
            memory.clear_rate_keys(generation)
        memory.common[LATELY_KEYS] = 0

    def _find(self, generation: int, number: int) -> int:
        """Return the place of a key, or where it is to be."""
        keys = self._memory.rate_keys
        base = generation * RATE_KEYS
        place = number % RATE_KEYS
        while (found := keys[2 * (base + place)]) and found != number:
            place = (place + 1) % RATE_KEYS
        return base + place

    def take(self, key: Hashable, now: float) -> bool:
        """Take a token of ``key``. Return whether there was one."""
        memory, number = self._memory, self._number(key)
        keys, times, common = memory.rate_keys, memory.rate_times, memory.common
        lately: int = common[LATELY]
        place = self._find(lately, number)
        is_there = bool(keys[2 * place])
        full_at: float = now
        if is_there:
            full_at = times[2 * place + 1]
        elif keys[2 * (before := self._find(1 - lately, number))]:
            full_at = times[2 * before + 1]
        if full_at < now:
            full_at = now
        elif full_at - now > self._depth_s:
            return False
        if not is_there:
            if now - memory.common_times[SINCE] >= self._period_s or common[LATELY_KEYS] >= RATE_KEYS // 2:
                lately = 1 - lately
                memory.clear_rate_keys(lately)
                common[LATELY], common[LATELY_KEYS], memory.common_times[SINCE] = lately, 0, now
                place = self._find(lately, number)
            common[LATELY_KEYS] += 1
        times[2 * place + 1] = full_at + self._step_s
        keys[2 * place] = number  # last: a process that is killed here leaves no bucket without a time
        return True

    def give_back(self, key: Hashable) -> None:
        """Put the token back that was taken last."""
        place = self._find(self._memory.common[LATELY], self._number(key))
        self._memory.rate_times[2 * place + 1] -= self._step_s
