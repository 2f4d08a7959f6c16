"""One epoll set for a loop: the engine's sockets, served here, and everybody else's, handed on by `NativeSelector`.

Nothing that is done because a connection ends asks for memory: there may be none.
"""

import os

from cpython.exc cimport PyErr_CheckSignals
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.errno cimport EINTR, errno
from libc.math cimport ceil, INFINITY
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec
from posix.unistd cimport close as close_fd

from ..census cimport PENSTOCK_DEBUG, living
from ..sealed cimport seal
from ..system cimport epoll_wait

from ....core import turns
from ....core.interrupts import is_interrupt
from ....core.law import tls

MOST_IN_A_ROW = turns.MOST_IN_A_ROW
cdef int STEPS = tls.STEPS_PER_TURN
SIZE_SHIFT = turns.SIZE_SHIFT


cdef extern from "Python.h":
    ctypedef int (*visitproc)(PyObject*, void*) noexcept
    ctypedef int (*traverseproc)(PyObject*, visitproc, void*) noexcept
    ctypedef struct PyTypeObject:
        traverseproc tp_traverse


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

    cdef void failed(self, object error) noexcept:
        """The engine itself raised while it served this descriptor."""

    cdef int look_after_task(self) except -1:
        """See whether the task that belongs to it, if there is one, has ended."""
        return 0

    cdef int watch(self, uint32_t mask) except -1:
        """Have these events reported from now on, and only these."""
        cdef uint32_t before = self.mask
        if mask != before:
            if mask == 0:
                self.unwatch()
            else:
                self.poller.control(EPOLL_CTL_MOD if before else EPOLL_CTL_ADD, self.fd, mask)
                self.mask = <unsigned char>mask
        return 0

    cdef void unwatch(self) noexcept:
        """Have no event reported. With none wanted it has to leave the set: hang-ups are reported in any case, without end."""
        if self.mask:
            self.mask = 0
            # Should it fail: closing the descriptor, which comes next, takes it out in any case.
            epoll_ctl(self.poller.epoll, EPOLL_CTL_DEL, self.fd, NULL)

    cdef void defer(self, unsigned char todo) noexcept:
        """Have `deferred` called after the batch of events at hand, or before the next one."""
        cdef Poller poller = self.poller
        if poller.epoll < 0:
            return  # the loop was closed
        if self.todo == 0:
            Py_INCREF(self)
            self.following = NULL
            if poller.last_waiting == NULL:
                poller.first_waiting = <PyObject*>self
            else:
                (<Pollable>poller.last_waiting).following = <PyObject*>self
            poller.last_waiting = <PyObject*>self
            poller.prod()
        self.todo |= todo


cdef class Poller:
    """An epoll set, what is deferred and the timers of one thread."""

    def __cinit__(self, *args, **kwargs):
        self.epoll = self.bell = -1
        self.begun = True
        self.hosts = []
        self.left = MOST_IN_A_ROW
        self.wheel = Wheel(self.clock())
        self.buffer = <char*>malloc(READ_BYTES)
        if self.buffer == NULL:
            raise MemoryError
        self.epoll = epoll_create1(EPOLL_CLOEXEC)
        if self.epoll < 0:
            raise os_error()

    def __dealloc__(self):
        # Where there was no memory for the call of `__cinit__`, the descriptors are 0, which is somebody else's.
        if not self.begun:
            return
        self.shut()
        if self.bell >= 0:
            close_fd(self.bell)
        free(self.buffer)
        free(self.plain)
        free(self.cipher)

    def fileno(self):
        """Return the descriptor of the epoll set."""
        return self.epoll

    cdef double clock(self) noexcept:
        """Read the clock, the one that asyncio's loops go by."""
        cdef timespec now
        clock_gettime(CLOCK_MONOTONIC, &now)
        self.now = <double>now.tv_sec + <double>now.tv_nsec * 1e-9
        return self.now

    cdef char* take_plain(self) except NULL:
        """Return a place for what is deciphered, of PLAIN_BYTES. It is the caller's until `give_plain`."""
        cdef char* plain = self.plain
        self.plain = NULL
        if plain == NULL:
            plain = <char*>malloc(PLAIN_BYTES)
            if plain == NULL:
                raise MemoryError
        return plain

    cdef void give_plain(self, char* plain) noexcept:
        if self.plain == NULL:
            self.plain = plain
        else:
            free(plain)

    def look_after_tasks(self):
        """Have every connection look whether its task has ended: there may have been no memory to tell it."""
        for host in self.hosts:
            host.look_after_tasks()

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

    cdef int control_apart(self, int operation, int fd, uint32_t mask) noexcept:
        """Do so for a descriptor that only makes the set readable: what is reported of it is dropped. Return 0, or -1."""
        cdef epoll_event event
        event.events = mask
        event.data.u64 = <uint64_t>0xFFFFFFFF << 32 | <uint64_t>fd  # of no generation that is reached
        return epoll_ctl(self.epoll, operation, fd, &event)

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
        # Of the new ones, those that are not used stay untouched, and so cost nothing.
        slots = <Slot*>calloc(count, sizeof(Slot))
        if slots == NULL:
            raise MemoryError
        if self.slots != NULL:
            memcpy(slots, self.slots, self.slot_count * sizeof(Slot))
            free(self.slots)
        self.slots = slots
        self.slot_count = count
        return 0

    # -- turns ---------------------------------------------------------------------------------------------------------

    cdef int turn(self, double timeout_s, list foreign) except -1:
        """Wait for events at most so long, serve the engine's, hand on the others; then timers and what was deferred."""
        cdef int count
        cdef int wait_ms
        cdef double next_at
        cdef PyObject* waiting = NULL
        if self.dispatching:
            raise RuntimeError("a handler cannot run the loop that is running it")
        if self.first_waiting != NULL or timeout_s <= 0:
            wait_ms = 0
        else:
            next_at = self.wheel.next_at()
            if next_at < INFINITY:
                timeout_s = min(timeout_s, max(0.0, next_at - self.clock()))
            # Up to the next millisecond, as asyncio does, so that no timer is woken for too early.
            wait_ms = -1 if timeout_s == INFINITY else <int>min(ceil(timeout_s * 1e3), 86_400_000.0)
        if wait_ms == 0 or self.is_called():
            count = epoll_wait(self.epoll, self.events, EVENTS, 0)
        else:
            self.waits = True
            with nogil:
                count = epoll_wait(self.epoll, self.events, EVENTS, wait_ms)
            self.waits = False
        if count < 0:
            if errno != EINTR:
                raise os_error()
            count = 0
        self.clock()
        self.left = MOST_IN_A_ROW
        self.rations = STEPS
        self.dispatching = True
        try:
            # Other threads ran while this one waited, and signal handlers run here: each may have ended connections. So what
            # was deferred is taken up after them. What is deferred from now on waits for the next turn: the others are
            # looked at in between.
            PyErr_CheckSignals()
            waiting = self.first_waiting
            self.first_waiting = self.last_waiting = NULL
            if count:
                self.dispatch(count, foreign)
            self.wheel.advance(self.now)
        except BaseException:
            self.wait_again(waiting)
            self.dispatching = False
            raise
        try:
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
            if self.epoll < 0:  # it was shut by what was served last
                return 0
            data = self.events[index].data.u64
            fd = <int><uint32_t>data
            slot = &self.slots[fd]
            if slot.generation != <uint32_t>(data >> 32):
                continue
            if slot.pollable == NULL:
                self.foreign_ready(fd, self.events[index].events, foreign)
                continue
            pollable = <Pollable>slot.pollable
            self.left = MOST_IN_A_ROW  # a task that is resumed in here has its own
            try:
                pollable.ready(self.events[index].events)
            except BaseException as error:
                if is_interrupt(error):
                    raise
                pollable.failed(error)
        return 0

    cdef int foreign_ready(self, int fd, uint32_t events, list foreign) except -1:
        return 0

    cdef int run_waiting(self, PyObject* waiting) except -1:
        """Do what was deferred before this turn."""
        cdef Pollable pollable
        cdef uint32_t todo
        while waiting != NULL:
            pollable = <Pollable>waiting
            waiting = pollable.following
            todo = pollable.todo
            pollable.todo = 0
            Py_DECREF(pollable)
            try:
                pollable.deferred(todo)
            except BaseException as error:
                if is_interrupt(error):
                    self.wait_again(waiting)
                    raise
                pollable.failed(error)
        return 0

    cdef void wait_again(self, PyObject* waiting) noexcept:
        """Put back what was to be done in this turn, before what is to be done in the next."""
        cdef PyObject* last = waiting
        if waiting != NULL:
            while (<Pollable>last).following != NULL:
                last = (<Pollable>last).following
            (<Pollable>last).following = self.first_waiting
            self.first_waiting = waiting
            if self.last_waiting == NULL:
                self.last_waiting = last

    cdef bint is_called(self) noexcept:
        """Whether another thread has had something put in the loop's queue by now, so that waiting would be wrong."""
        return False

    cdef void prod(self) noexcept:
        """Something was deferred, or a timer was set."""

    cdef int shut(self) except -1:
        """Close the set and let go of what is in it."""
        cdef int fd
        cdef Pollable pollable
        cdef PyObject* held
        while self.first_waiting != NULL:
            pollable = <Pollable>self.first_waiting
            self.first_waiting = pollable.following
            pollable.todo = 0
            Py_DECREF(pollable)
        self.last_waiting = NULL
        if self.wheel is not None:
            self.wheel.close()
        if self.epoll >= 0:
            close_fd(self.epoll)
            self.epoll = -1
        for fd in range(self.slot_count):
            if self.slots[fd].pollable != NULL:
                if PENSTOCK_DEBUG:
                    living.references -= 1
                held = self.slots[fd].pollable
                self.slots[fd].pollable = NULL  # first: what ends may have the collector run, which looks here
                Py_DECREF(<object>held)
        free(self.slots)
        self.slots = NULL
        self.slot_count = 0
        if self.spare != NULL:
            free(self.spare)
            self.spare = NULL
            if PENSTOCK_DEBUG:
                living.blocks -= 1
        return 0


# What Cython wrote, which knows of the attributes that are objects.
cdef traverseproc traverse_attributes = (<PyTypeObject*>Poller).tp_traverse


cdef int traverse(PyObject* self, visitproc visit, void* arg) noexcept:
    """Show the collector what the set holds as well: a loop that is dropped without being closed is a cycle through it."""
    cdef Poller poller = <Poller>self
    cdef PyObject* waiting = poller.first_waiting
    cdef int fd, result
    while waiting != NULL:
        result = visit(waiting, arg)
        if result:
            return result
        waiting = (<Pollable>waiting).following
    for fd in range(poller.slot_count):
        if poller.slots[fd].pollable != NULL:
            result = visit(poller.slots[fd].pollable, arg)
            if result:
                return result
    return traverse_attributes(self, visit, arg)


(<PyTypeObject*>Poller).tp_traverse = traverse


seal(globals(), (Poller,))
