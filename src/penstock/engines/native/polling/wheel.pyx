"""A timing wheel of two levels: setting, moving and cancelling cost the same whatever the number of timers.

(G. Varghese and T. Lauck, "Hashed and hierarchical timing wheels", SOSP 1987.) A timer fires at the first tick at or after its
instant, never before. One that is further away than the wheel reaches is looked at once a turn and put back.
"""

from libc.math cimport ceil, floor, INFINITY

from ..sealed cimport seal


cdef class Timed(Law):
    """Something that may be in a wheel."""

    def __cinit__(self):
        self.due_at = INFINITY
        self.place = -1

    def __init__(self, *_, **__):
        # Not the law's, which would do: what is in a wheel needs more than a law.
        raise TypeError(f"cannot create '{type(self).__name__}' instances")

    cdef int expired(self) except -1:
        return 0


cdef class Wheel:
    """Timers by their instants, in seconds on one clock."""

    def __cinit__(self, double epoch):
        self.epoch = epoch
        self.next_tick = -1

    cdef void set(self, Timed timed, double when) noexcept:
        """Have ``expired`` called at ``when``, and at no other instant that was set before."""
        if self.closed:
            return
        if timed.place >= 0:
            self.remove(timed)
        timed.due_at = when
        self.insert(timed)

    cdef void cancel(self, Timed timed) noexcept:
        if timed.place >= 0:
            self.remove(timed)
        timed.due_at = INFINITY

    cdef double next_at(self) noexcept:
        """Return the instant before which nothing can be due; inf when nothing is set."""
        if self.count == 0:
            return INFINITY
        if self.next_tick <= self.tick:
            self.next_tick = self.seek()
        return self.epoch + <double>self.next_tick / TICKS_PER_S

    cdef int advance(self, double now) except -1:
        """Call ``expired`` of every timer that is due at ``now``. One that raises leaves the others for the next call."""
        cdef long long goal = <long long>floor((now - self.epoch) * TICKS_PER_S)
        cdef Timed timed
        cdef int near
        while goal > self.tick:
            if self.count and self.next_tick <= self.tick:
                self.next_tick = self.seek()
            if self.count == 0 or self.next_tick > goal:
                self.tick = goal
                return 0
            self.tick = self.next_tick
            if self.tick % NEAR == 0:
                self.cascade(<int>(NEAR + self.tick // NEAR % FAR))
            near = <int>(self.tick % NEAR)
            while self.slots[near] != NULL:
                timed = <Timed>self.slots[near]
                self.remove(timed)
                if timed.due_at > now:  # it was further away than the wheel reaches
                    self.insert(timed)
                    continue
                timed.due_at = INFINITY
                try:
                    timed.expired()
                except BaseException:
                    self.tick -= 1  # come back for what is left in the slot
                    self.next_tick = self.tick
                    raise
        return 0

    cdef void close(self) noexcept:
        """Let go of every timer and take no other: they may be gone before the wheel is."""
        cdef int place
        self.closed = True
        for place in range(NEAR + FAR):
            while self.slots[place] != NULL:
                self.remove(<Timed>self.slots[place])

    cdef void cascade(self, int far) noexcept:
        """Spread the timers of a far slot, whose time has begun, over the near ones."""
        cdef PyObject* entry = self.slots[far]
        cdef PyObject* after
        self.slots[far] = NULL
        while entry != NULL:
            timed = <Timed>entry
            after = timed.after
            self.count -= 1
            self.insert(timed)
            entry = after

    cdef void insert(self, Timed timed) noexcept:
        cdef double ticks = ceil((timed.due_at - self.epoch) * TICKS_PER_S)
        cdef long long last = (self.tick // NEAR + FAR - 1) * NEAR
        cdef long long when
        cdef int place
        when = last if ticks > <double>last else <long long>ticks
        if when <= self.tick:
            when = self.tick + 1
        if when - self.tick < NEAR:
            place = <int>(when % NEAR)
        else:
            place = <int>(NEAR + when // NEAR % FAR)
            when = when // NEAR * NEAR  # it has to be looked at when its slot's time begins
        timed.place = place
        timed.before = NULL
        timed.after = self.slots[place]
        if timed.after != NULL:
            (<Timed>timed.after).before = <PyObject*>timed
        self.slots[place] = <PyObject*>timed
        self.count += 1
        # Where the next tick is not known it stays unknown: there may be an earlier one.
        if self.count == 1 or (self.next_tick > self.tick and when < self.next_tick):
            self.next_tick = when

    cdef void remove(self, Timed timed) noexcept:
        if timed.before != NULL:
            (<Timed>timed.before).after = timed.after
        else:
            self.slots[timed.place] = timed.after
        if timed.after != NULL:
            (<Timed>timed.after).before = timed.before
        timed.before = timed.after = NULL
        timed.place = -1
        self.count -= 1

    cdef long long seek(self) noexcept:
        """Return the next tick whose slot holds anything. Only called when there is one."""
        cdef long long found = self.tick + NEAR * FAR
        cdef long long step
        for step in range(1, NEAR):
            if self.slots[(self.tick + step) % NEAR] != NULL:
                found = self.tick + step
                break
        for step in range(1, FAR):
            if (self.tick // NEAR + step) * NEAR >= found:
                break
            if self.slots[NEAR + (self.tick // NEAR + step) % FAR] != NULL:
                found = (self.tick // NEAR + step) * NEAR
                break
        return found


seal(globals(), (Wheel,))
