"""Accepting in compiled code: from accept4(2) to the handler there is no socket object, and no `Peer` unless one is asked for.

When to accept, and when to leave it for a while, is the backlog's to say, as on every engine; who is let in is the gate's.
"""

import os
import socket

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint32_t
from posix.unistd cimport close as close_fd

from .connection.connection cimport Connection
from .drivers.conversation cimport ConversationConnection
from .host cimport Host
from .connection.sockname cimport AF_INET, AF_INET6, AF_UNIX, caller, note, peer, sockaddr, sockaddr_storage, socklen_t
from .polling.poller cimport EPOLLIN, Pollable
from .drivers.moving cimport MovingConnection
from .drivers.push cimport PushConnection
from .sealed cimport seal

from ...config import Action
from ...core.events import Accepted, HandlerFailed
from ...core.handlers import Driver
from ...core.interrupts import is_interrupt
from ..accept import ACCEPTS_PER_TURN, GONE_ALREADY, MOST_GONE, turn_away
from ..listener import peer_of

cdef object PUSH = Driver.PUSH

cdef extern from "<sys/socket.h>" nogil:
    enum:
        SOCK_NONBLOCK
        SOCK_CLOEXEC
    int accept4(int fd, sockaddr* name, socklen_t* size, int flags)
    int getpeername(int fd, sockaddr* name, socklen_t* size)

cdef extern from *:
    """
    #include <stddef.h>
    #include <sys/un.h>
    enum { PATH_AT = offsetof(struct sockaddr_un, sun_path) };
    """
    enum: PATH_AT
    struct sockaddr_un:
        char sun_path[108]

cdef int MOST = ACCEPTS_PER_TURN
cdef int GONE = MOST_GONE


cdef class ListenerPoll(Pollable):
    """A listener of stream sockets in the poller's set.

    Args:
        host: What accepted connections belong to.
        backlog: Asked whether to accept, and told of failures.
        handler: Of the connections.
    """

    cdef Host host
    cdef object listener
    cdef object local
    cdef object gate
    cdef object handler
    cdef object acceptor
    cdef object backlog
    cdef bint converses
    cdef int batch  # how many to take at once
    cdef int gone  # failures in a row that may have been of connections

    def __init__(self, Host host, backlog, handler, driver):
        self.host = host
        self.poller = host.poller
        self.backlog = backlog
        self.listener = backlog.listener
        self.local = self.listener.address
        self.acceptor = backlog.acceptor
        self.gate = self.acceptor.gate
        self.handler = handler
        self.converses = driver is not PUSH  # in a task, which waits for threads too
        self.batch = 1

    def poll(self, bint wanted):
        """Accept from the next turn on, or do not."""
        if wanted:
            self.fd = self.listener.sock.fileno()
            self.poller.adopt(self)
            try:
                self.watch(EPOLLIN)
            except BaseException:
                self.poller.release(self)
                raise
        else:
            self.unwatch()
            self.poller.release(self)

    cdef void failed(self, object error) noexcept:
        self.host.blame(error)  # whoever was being accepted is gone; the others are in the backlog

    cdef int ready(self, uint32_t events) except -1:
        try:
            return self.accept()
        finally:
            if self.gate.waits:
                self.backlog.let_go()

    cdef int accept(self) except -1:
        cdef sockaddr_storage name
        cdef socklen_t size
        cdef int fd, most, taken, number
        most = self.gate.at_once(self.batch)
        for taken in range(most):
            if self.gate.waits and not self.backlog.may_accept():
                return 0
            size = sizeof(name)
            fd = accept4(self.fd, <sockaddr*>&name, &size, SOCK_NONBLOCK | SOCK_CLOEXEC)
            if fd >= 0:
                self.gone = 0
                self.accepted(fd, &name, size)
            elif errno == EAGAIN or errno == EINTR:
                self.batch = max(1, taken)  # being told that there is none more costs as much as taking one
                return 0
            else:
                number = errno
                if self.has_failed(number):
                    self.backlog.failed(OSError(number, os.strerror(number)))
                    return 0
            if self.mask == 0:  # whoever was told stopped the server
                return 0
        self.batch = min(2 * self.batch, MOST)
        return 0

    cdef bint has_failed(self, int number) except -1:
        """Whether it is the listener's failure, and not that of a connection that is gone already."""
        self.gone += 1
        return self.gone >= GONE or number not in GONE_ALREADY

    cdef int accepted(self, int fd, const sockaddr_storage* name, socklen_t size) except -1:
        cdef Connection connection
        try:
            if self.converses:
                connection = ConversationConnection.__new__(ConversationConnection)
            else:
                connection = PushConnection.__new__(PushConnection)
        except BaseException:
            close_fd(fd)
            raise
        connection.fd = fd  # and is closed with it, whatever comes
        if name.ss_family == AF_INET or name.ss_family == AF_INET6:
            connection.sockname_rest = note(&connection.sockname, name)
        else:
            connection.sockname.family = AF_UNIX
            connection.sockname_rest = unix_peer(fd, <const sockaddr_un*>name, size)
        refusal = self.acceptor.let_in(caller(&connection.sockname, connection.sockname_rest), self.listener)
        if refusal is not None:
            self.acceptor.refuse(sock_of(connection), connection.peer, self.listener, refusal)
            return 0
        failure = None
        try:
            connection.settle_in(self.host, self.local, self.handler)
            connection.layer = self.listener.layer
            event = Accepted(connection, self.listener)
            if not self.host.ending:
                connection.take_place()
        except BaseException as error:
            failure = error
        # Code of the user's that ran meanwhile may have ended the server: this one is refused like those in the backlog.
        if failure is not None or self.host.ending:
            # The handler could not be made: its peer must not keep a place.
            if connection.host is not None:
                connection.leave_place()
            self.acceptor.leave(caller(&connection.sockname, connection.sockname_rest))
            turn_away(sock_of(connection), Action.CLOSE)
            if failure is not None:
                if is_interrupt(failure):
                    raise failure
                self.host.told(HandlerFailed(None, failure))
            return 0
        try:
            self.host.told(event)
        except BaseException as error:  # a signal's
            connection.failed(error)
            raise
        return connection.take_up()


def adopted(Host host, object handler, object local, object sock, object arrival):
    """Make the connection of a socket that is another process's still, which has a place from now on.

    Raises:
        Exception: What the factory of handlers raises, or the gate. The socket is closed.
    """
    cdef MovingConnection connection
    cdef sockaddr_storage name
    cdef socklen_t size = sizeof(name)
    snapshot, who = arrival.snapshot, arrival.peer
    if handler.converses:
        connection = ConversationConnection.__new__(ConversationConnection)
    else:
        connection = PushConnection.__new__(PushConnection)
    connection.fd = sock.detach()  # and is closed with it, whatever comes
    connection.sockname.family = <unsigned char>who.family
    connection.sockname_rest = who
    if who.family != AF_UNIX and getpeername(connection.fd, <sockaddr*>&name, &size) == 0:
        if name.ss_family == AF_INET or name.ss_family == AF_INET6:
            connection.sockname_rest = note(&connection.sockname, &name)
            if connection.peer != who:  # a proxy speaks for it
                connection.sockname_rest = who
    connection.settle_in(host, local, handler)
    host.gate.take_over(who)
    connection.take_place()
    # They are counted in the process that has handled them.
    host.messages_in -= snapshot.messages_in
    host.messages_out -= snapshot.messages_out
    return connection


cdef object sock_of(Connection connection):
    """Take the descriptor from a connection that is not to be."""
    sock = socket.socket(fileno=connection.fd)
    connection.fd = -1
    return sock


cdef object unix_peer(int fd, const sockaddr_un* name, socklen_t size):
    """Return the `Peer` of a Unix socket, whose name accept(2) gave as Python's own accept does."""
    cdef Py_ssize_t length = <Py_ssize_t>size - <Py_ssize_t>PATH_AT
    cdef bytes path = PyBytes_FromStringAndSize(name.sun_path, max(0, length))
    sock = socket.socket(fileno=fd)
    try:
        return peer_of(sock, path if path[:1] == b"\0" else os.fsdecode(path.partition(b"\0")[0]))
    finally:
        sock.detach()


seal(globals())
