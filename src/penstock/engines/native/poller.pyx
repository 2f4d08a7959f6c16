"""One epoll set for a loop: the engine's sockets, served here, and everybody else's, handed on.

`NativeSelector` is asyncio's selector at the same time: ``asyncio.SelectorEventLoop(selector=NativeSelector())``. In a loop that
is not ours the set's own descriptor is watched instead: `AttachedPoller`.
"""

import abc
import collections
import collections.abc
import os
import selectors

from cpython.exc cimport PyErr_CheckSignals
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.errno cimport EBADF, EINTR, ENOENT, errno
from libc.math cimport ceil, INFINITY
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memset
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec
from posix.unistd cimport close as close_fd

from .census cimport PENSTOCK_DEBUG, living

_READ = selectors.EVENT_READ
_WRITE = selectors.EVENT_WRITE


cdef OSError os_error():
    return OSError(errno, os.strerror(errno))


cdef class Pollable(Timed):
    """A descriptor in a poller's set."""

    def __cinit__(self):
        self.fd = -1

    cdef int ready(self, uint32_t events) except -1:
        """Serve the descriptor; epoll said why."""
        return 0

    cdef int deferred(self, uint32_t todo) except -1:
        """Do what was put off until the batch of events was over."""
        return 0

    cdef int failed(self, object error) except -1:
        """The engine itself raised while it served this descriptor."""
        raise error

    cdef int watch(self, uint32_t mask) except -1:
        """Have these events reported from now on, and only these."""
        cdef uint32_t before = self.mask
        if mask != before:
            # With no event wanted it has to leave the set: hang-ups are reported in any case, without end.
            if mask == 0:
                self.mask = 0
                try:
                    self.poller.control(EPOLL_CTL_DEL, self.fd, 0)
                except OSError:
                    pass  # closing the descriptor, which comes next, takes it out in any case
            else:
                self.poller.control(EPOLL_CTL_MOD if before else EPOLL_CTL_ADD, self.fd, mask)
                self.mask = mask
        return 0

    cdef int defer(self, uint32_t todo) except -1:
        """Have `deferred` called after the batch of events at hand, or before the next one."""
        if self.todo == 0:
            self.poller.waiting.append(self)
            self.poller.prod()
        self.todo |= todo
        return 0


cdef class Poller:
    """An epoll set, what is deferred and the timers of one thread."""

    def __cinit__(self, *args, **kwargs):
        self.epoll = -1
        self.waiting = []
        self.wheel = Wheel(self.clock())
        self.buffer = <char*>malloc(READ_BYTES)
        if self.buffer == NULL:
            raise MemoryError
        self.epoll = epoll_create1(EPOLL_CLOEXEC)
        if self.epoll < 0:
            raise os_error()

    def __dealloc__(self):
        self.shut()
        free(self.buffer)

    def fileno(self):
        """Return the descriptor of the epoll set."""
        return self.epoll

    cdef double clock(self) noexcept:
        """Read the clock, the one that asyncio's loops go by."""
        cdef timespec now
        clock_gettime(CLOCK_MONOTONIC, &now)
        self.now = <double>now.tv_sec + <double>now.tv_nsec * 1e-9
        return self.now

    # -- the set -------------------------------------------------------------------------------------------------------

    cdef int control(self, int operation, int fd, uint32_t mask) except -1:
        cdef epoll_event event
        if self.epoll < 0:  # the loop was closed
            return 0
        event.events = mask
        event.data.u64 = (<uint64_t>self.slots[fd].generation << 32) | <uint32_t>fd
        if epoll_ctl(self.epoll, operation, fd, &event) < 0:
            raise os_error()
        return 0

    cdef int adopt(self, Pollable pollable) except -1:
        """Serve a descriptor of the engine's; nothing is watched yet."""
        if self.epoll < 0:
            raise RuntimeError("the loop is closed")
        self.grow(pollable.fd)
        self.slots[pollable.fd].generation += 1
        Py_INCREF(pollable)
        self.slots[pollable.fd].pollable = <PyObject*>pollable
        if PENSTOCK_DEBUG:
            living.references += 1
        return 0

    cdef int release(self, Pollable pollable) except -1:
        """Forget a descriptor, which the caller is about to close. What is still reported of it is dropped."""
        if pollable.fd < self.slot_count and self.slots[pollable.fd].pollable == <PyObject*>pollable:
            self.slots[pollable.fd].pollable = NULL
            self.slots[pollable.fd].generation += 1
            if PENSTOCK_DEBUG:
                living.references -= 1
            Py_DECREF(pollable)
        return 0

    cdef int grow(self, int fd) except -1:
        cdef Slot* slots
        cdef int count = self.slot_count
        if fd < 0:
            raise ValueError("a descriptor is not negative")
        if fd < count:
            return 0
        while fd >= count:
            count = max(64, 2 * count)
        slots = <Slot*>realloc(self.slots, count * sizeof(Slot))
        if slots == NULL:
            raise MemoryError
        memset(slots + self.slot_count, 0, (count - self.slot_count) * sizeof(Slot))
        self.slots = slots
        self.slot_count = count
        return 0

    # -- turns ---------------------------------------------------------------------------------------------------------

    cdef int turn(self, double timeout_s, list foreign) except -1:
        """Wait for events at most so long, serve the engine's, hand on the others; then timers and what was deferred."""
        cdef int count
        cdef int wait_ms
        cdef double next_at
        cdef list waiting = self.waiting or None
        if waiting is not None or timeout_s <= 0:
            wait_ms = 0
        else:
            next_at = self.wheel.next_at()
            if next_at < INFINITY:
                timeout_s = min(timeout_s, max(0.0, next_at - self.clock()))
            # Up to the next millisecond, as asyncio does, so that no timer is woken for too early.
            wait_ms = -1 if timeout_s == INFINITY else <int>min(ceil(timeout_s * 1e3), 86_400_000.0)
        if wait_ms == 0:
            count = epoll_wait(self.epoll, self.events, EVENTS, 0)
        else:
            with nogil:
                count = epoll_wait(self.epoll, self.events, EVENTS, wait_ms)
        if count < 0:
            if errno != EINTR:
                raise os_error()
            count = 0
        PyErr_CheckSignals()
        self.clock()
        self.dispatching = True
        try:
            # What is deferred from now on waits for the next turn: the others are looked at in between.
            if waiting is not None:
                self.waiting = []
            if count:
                self.dispatch(count, foreign)
            self.wheel.advance(self.now)
        except BaseException:
            if waiting is not None:
                self.waiting[:0] = waiting
            self.dispatching = False
            raise
        try:
            if waiting is not None:
                self.run_waiting(waiting)
        finally:
            self.dispatching = False
        return count

    cdef int dispatch(self, int count, list foreign) except -1:
        cdef int index, fd
        cdef uint64_t data
        cdef Slot* slot
        cdef Pollable pollable
        for index in range(count):
            data = self.events[index].data.u64
            fd = <int>(data & 0xFFFFFFFF)
            slot = &self.slots[fd]
            if slot.generation != <uint32_t>(data >> 32):
                continue
            if slot.pollable == NULL:
                self.foreign_ready(fd, self.events[index].events, foreign)
                continue
            pollable = <Pollable>slot.pollable
            try:
                pollable.ready(self.events[index].events)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as error:
                pollable.failed(error)
        return 0

    cdef int foreign_ready(self, int fd, uint32_t events, list foreign) except -1:
        return 0

    cdef int run_waiting(self, list waiting) except -1:
        """Do what was deferred before this turn."""
        cdef Py_ssize_t index
        cdef Pollable pollable
        cdef uint32_t todo
        for index in range(len(waiting)):
            pollable = waiting[index]
            todo = pollable.todo
            pollable.todo = 0
            try:
                pollable.deferred(todo)
            except (SystemExit, KeyboardInterrupt):
                self.waiting[:0] = waiting[index + 1:]
                raise
            except BaseException as error:
                pollable.failed(error)
        return 0

    cdef int prod(self) except -1:
        """Something was deferred, or a timer was set."""
        return 0

    cdef int shut(self) except -1:
        """Close the set and let go of what is in it."""
        cdef int fd
        if self.wheel is not None:
            self.wheel.close()
        if self.epoll >= 0:
            close_fd(self.epoll)
            self.epoll = -1
        for fd in range(self.slot_count):
            if self.slots[fd].pollable != NULL:
                if PENSTOCK_DEBUG:
                    living.references -= 1
                Py_DECREF(<object>self.slots[fd].pollable)
                self.slots[fd].pollable = NULL
        free(self.slots)
        self.slots = NULL
        self.slot_count = 0
        if self.spare != NULL:
            free(self.spare)
            self.spare = NULL
            if PENSTOCK_DEBUG:
                living.blocks -= 1
        return 0


cdef class AttachedPoller(Poller):
    """A set of its own in a loop of somebody else's, which watches the set's descriptor."""

    def __init__(self, loop):
        self.loop = loop
        self.handle_at = INFINITY
        loop.add_reader(self.epoll, self._turn)

    def _turn(self):
        self.prodded = False
        self.turn(0, [])
        self.prod()

    def _timer(self):
        self.handle = None
        self.handle_at = INFINITY
        self._turn()

    cdef int prod(self) except -1:
        cdef double next_at
        if self.dispatching or self.epoll < 0:
            return 0
        if self.waiting:
            if not self.prodded:
                self.prodded = True
                self.loop.call_soon(self._prodded)
            return 0
        next_at = self.wheel.next_at()
        if next_at < self.handle_at:
            if self.handle is not None:
                self.handle.cancel()
            self.handle_at = next_at
            # By its own clock: uvloop's loops start from another instant.
            self.handle = self.loop.call_at(self.loop.time() + max(0.0, next_at - self.clock()) + 0.001, self._timer)
        return 0

    def _prodded(self):
        if self.prodded and self.epoll >= 0:
            self._turn()

    def detach(self):
        """Leave the loop alone."""
        if self.handle is not None:
            self.handle.cancel()
            self.handle = None
        if self.epoll >= 0:
            if not self.loop.is_closed():
                self.loop.remove_reader(self.epoll)
            self.shut()


cdef class NativeSelector(Poller):
    """The engine's poller and an asyncio selector in one: see `selectors.BaseSelector` for the contract of its methods.

    `select` serves the engine's sockets itself. It returns when others have events, when the loop has something to run, and at
    the latest when the time is up.
    """

    def __init__(self):
        self.keys = {}

    cpdef bind(self, loop):
        """Say whose selector this is, so that `select` can tell whether the loop has something to run."""
        self.loop = loop
        ready = getattr(loop, "_ready", None)
        self.ready = ready if isinstance(ready, collections.deque) and hasattr(loop, "_scheduled") else None

    # -- selectors.BaseSelector ----------------------------------------------------------------------------------------

    def register(self, fileobj, events, data=None):
        cdef int fd = _fileno(fileobj)
        if not events or events & ~(_READ | _WRITE):
            raise ValueError(f"invalid events: {events!r}")
        if fd in self.keys:
            raise KeyError(f"{fileobj!r} (FD {fd}) is already registered")
        self.grow(fd)
        if self.slots[fd].pollable != NULL:
            raise KeyError(f"FD {fd} is served by the engine")
        self.slots[fd].generation += 1
        self.control(EPOLL_CTL_ADD, fd, _epoll_mask(events))
        key = self.keys[fd] = selectors.SelectorKey(fileobj, fd, events, data)
        return key

    def unregister(self, fileobj):
        key = self._key(fileobj)
        cdef int fd = key.fd
        del self.keys[fd]
        self.slots[fd].generation += 1
        try:
            self.control(EPOLL_CTL_DEL, fd, 0)
        except OSError as error:
            # It was closed before, which takes it out of the set.
            if error.errno not in (EBADF, ENOENT):
                raise
        return key

    def modify(self, fileobj, events, data=None):
        key = self._key(fileobj)
        cdef int fd = key.fd
        if not events or events & ~(_READ | _WRITE):
            raise ValueError(f"invalid events: {events!r}")
        if events != key.events:
            try:
                self.control(EPOLL_CTL_MOD, fd, _epoll_mask(events))
            except OSError:
                self.unregister(fileobj)
                raise
        key = self.keys[fd] = selectors.SelectorKey(fileobj, fd, events, data)
        return key

    def get_map(self):
        """Return what is registered, without the engine's own, by descriptor."""
        return None if self.epoll < 0 else _Keys(self)

    def get_key(self, fileobj):
        if self.epoll < 0:
            raise RuntimeError("Selector is closed")
        return self._key(fileobj)

    def _key(self, fileobj):
        try:
            fd = _fileno(fileobj)
        except ValueError:
            # It was closed: look for the object itself.
            for key in self.keys.values():
                if key.fileobj is fileobj:
                    return key
            raise
        try:
            return self.keys[fd]
        except KeyError:
            raise KeyError(f"{fileobj!r} is not registered") from None

    def close(self):
        self.keys.clear()
        self.waiting.clear()
        self.loop = self.ready = None
        self.shut()

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.close()

    def select(self, timeout=None):
        cdef list foreign = []
        cdef double patience = INFINITY if timeout is None else timeout
        cdef double until
        if self.dispatching:
            raise RuntimeError("a handler cannot run the loop that is running it")
        if patience <= 0:
            self.turn(0, foreign)
            return foreign
        until = self.clock() + patience
        first = self.first_timer()
        while True:
            self.turn(until - self.now, foreign)
            if foreign or self.now >= until or self.loop_waits(first):
                return foreign

    cdef bint loop_waits(self, object first) except -1:
        """Whether the loop has got something to do since `select` was called."""
        if self.ready is None:
            return True
        return len(self.ready) != 0 or self.first_timer() is not first or self.loop._stopping

    cdef object first_timer(self):
        if self.ready is None:
            return None
        scheduled = self.loop._scheduled
        return scheduled[0] if scheduled else None

    cdef int foreign_ready(self, int fd, uint32_t events, list foreign) except -1:
        key = self.keys.get(fd)
        if key is None:
            return 0
        cdef int happened = 0
        if events & ~<uint32_t>EPOLLIN:
            happened |= <int>_WRITE
        if events & ~<uint32_t>EPOLLOUT:
            happened |= <int>_READ
        happened &= <int>key.events
        if happened:
            foreign.append((key, happened))
        return 0


abc.ABCMeta.register(selectors.BaseSelector, NativeSelector)  # its own register is the selector's


class _Keys(collections.abc.Mapping):
    """The registered keys by file object or descriptor: a live view, as `selectors` gives it."""

    def __init__(self, NativeSelector selector):
        self._selector = selector
        self._keys = selector.keys

    def __len__(self):
        return len(self._keys)

    def __getitem__(self, fileobj):
        return self._selector._key(fileobj)

    def __iter__(self):
        return iter(self._keys)


cdef uint32_t _epoll_mask(int events):
    return (<uint32_t>EPOLLIN if events & <int>_READ else 0) | (<uint32_t>EPOLLOUT if events & <int>_WRITE else 0)


cdef int _fileno(object fileobj) except -1:
    cdef int fd
    if isinstance(fileobj, int):
        fd = fileobj
    else:
        try:
            fd = int(fileobj.fileno())
        except (AttributeError, TypeError, ValueError):
            raise ValueError(f"Invalid file object: {fileobj!r}") from None
    if fd < 0:
        raise ValueError(f"Invalid file descriptor: {fd}")
    return fd
