"""The engine's epoll set as asyncio's selector: ``asyncio.SelectorEventLoop(selector=NativeSelector())``."""

import abc
import collections
import collections.abc
import selectors

from libc.errno cimport EBADF, ENOENT
from libc.math cimport INFINITY
from libc.stdint cimport uint32_t, uint64_t
from posix.unistd cimport close as close_fd, write

from .poller cimport (
    EFD_CLOEXEC, EFD_NONBLOCK, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLLET, EPOLLIN, EPOLLOUT, Poller, eventfd
)
from ..sealed cimport seal

_READ = selectors.EVENT_READ
_WRITE = selectors.EVENT_WRITE


cdef class NativeSelector(Poller):
    """The engine's poller and an asyncio selector in one: see `selectors.BaseSelector` for the contract of its methods.

    `select` serves the engine's sockets itself. It returns when others have events, when the loop has something to run, and at
    the latest when the time is up.
    """

    def __init__(self):
        self.keys = {}

    cpdef bind(self, loop, bint tells=False):
        """Say whose selector this is, so that `select` can tell whether the loop has something to run.

        Args:
            loop: The loop.
            tells: It calls `stops` when it is to stop, so that it need not be asked after each batch of events, and `wake`
                when another thread has given it something to run.
        """
        self.loop = loop
        ready = getattr(loop, "_ready", None)
        self.ready = ready if isinstance(ready, collections.deque) and hasattr(loop, "_scheduled") else None
        self.tells = tells
        if tells and self.ready is not None and self.bell < 0:
            self.hang_bell()

    cdef int hang_bell(self) except -1:
        cdef int bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
        if bell < 0:
            return 0  # no descriptor is left: the loop wakes itself as ever
        try:
            self.grow(bell)
        except BaseException:
            close_fd(bell)
            raise
        # By its edges: each write is reported once, and never has to be read.
        if self.control_apart(EPOLL_CTL_ADD, bell, <uint32_t>EPOLLIN | <uint32_t>EPOLLET) == 0:
            self.bell = bell
        else:
            close_fd(bell)
        return 0

    cpdef bint wake(self) except? True:
        """Have `select` return, since the loop's queue has got something; any thread may call this. Return whether that is taken care of.

        While its thread runs it needs no call: it looks into the queue before it waits. Of those that call while it waits the
        first one is enough.
        """
        cdef uint64_t one = 1
        if self.bell < 0 or self.ready is None:
            return False
        if self.waits:
            # Not to be interrupted in between, and the interpreter is not released: the call does not wait.
            self.waits = False
            write(self.bell, &one, sizeof(one))
        return True

    cdef bint is_called(self) noexcept:
        return self.bell >= 0 and self.ready is not None and len(self.ready) != 0

    cpdef stops(self):
        """The loop was told to stop."""
        self.stopping = True

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
        fd = closed = None
        try:
            fd = _fileno(fileobj)
        except ValueError as error:
            closed = error
        if closed is not None:
            # Look for the object itself.
            for key in self.keys.values():
                if key.fileobj is fileobj:
                    return key
            raise closed
        try:
            return self.keys[fd]
        except KeyError:
            raise KeyError(f"{fileobj!r} is not registered") from None

    def close(self):
        self.keys.clear()
        self.loop = self.ready = None
        self.shut()
        if self.bell >= 0:
            close_fd(self.bell)
            self.bell = -1

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.close()

    def select(self, timeout=None):
        cdef list foreign = []
        cdef double patience = INFINITY if timeout is None else timeout
        cdef double until
        cdef list scheduled
        if patience <= 0:
            self.turn(0, foreign)
            return foreign
        until = self.clock() + patience
        scheduled = None if self.ready is None else self.loop._scheduled  # which no callback replaces, only the loop itself
        first = first_of(scheduled)
        while True:
            self.turn(until - self.now, foreign)
            if foreign or self.now >= until or self.loop_waits(scheduled, first):
                return foreign

    cdef bint loop_waits(self, list scheduled, object first) except -1:
        """Whether the loop has got something to do since `select` was called."""
        if self.ready is None:
            return True
        if self.tells:
            if self.stopping:
                self.stopping = False
                return True
        elif self.loop._stopping:
            return True
        return len(self.ready) != 0 or first_of(scheduled) is not first

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


cdef object first_of(list scheduled):
    return scheduled[0] if scheduled else None


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


seal(globals())
