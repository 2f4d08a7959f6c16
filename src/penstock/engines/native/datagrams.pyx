"""Datagrams in compiled code: a batch comes in with recvmmsg(2), and its answers leave with sendmmsg(2).

Everything that is rare is the endpoint's, as on the pure engine: refusals, coroutines, callbacks, answers for which the kernel
has no room.
"""

import os

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.errno cimport EAGAIN, EINTR, EMSGSIZE, errno
from libc.stdint cimport uint16_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset
from posix.time cimport timespec

from .census cimport PENSTOCK_DEBUG, living
from .host cimport Host
from .connection.sockname cimport AF_INET, AF_INET6, Sockname, note, peer, sockaddr_storage
from .polling.poller cimport EPOLLIN, EPOLLOUT, Pollable
from .sealed cimport seal

from ...codecs.guard import as_bytes, failure
from ...core.events import DatagramHandled
from ...core.interrupts import is_interrupt
from ...errors import LocalProtocolError
from ...reasons import CloseReason
from ..destination import ANCILLARY_BYTES, Sourced
from ..endpoint import READS_PER_TURN
from ..wire import MAX_DATAGRAM_BYTES
from ..loop.datagrams import CENSUS_S
from ..replies import REPLY_TOO_LONG
from ..wire import next_connection_id

cdef extern from "<sys/socket.h>" nogil:
    enum:
        MSG_DONTWAIT
        MSG_TRUNC
    struct iovec:
        void* iov_base
        size_t iov_len
    struct msghdr:
        void* msg_name
        unsigned int msg_namelen
        iovec* msg_iov
        size_t msg_iovlen
        void* msg_control
        size_t msg_controllen
        int msg_flags
    struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len
    int recvmmsg(int fd, mmsghdr* messages, unsigned int count, int flags, timespec* timeout)
    int sendmmsg(int fd, mmsghdr* messages, unsigned int count, int flags)

cdef extern from *:
    """
    #include <netinet/in.h>
    #include <stddef.h>
    #include <string.h>
    #include <sys/socket.h>
    #include <sys/un.h>
    /* Where the port of an IPv4 and of an IPv6 address is: both have it in the same place. */
    enum { PATH_AT = offsetof(struct sockaddr_un, sun_path) };
    static uint16_t penstock_port(const struct sockaddr_storage *name)
    {
        return ntohs(((const struct sockaddr_in *)name)->sin_port);
    }

    /* What `destination.source_of` says, by the control message of one datagram: how many bytes it wrote; 0 for nothing. */
    enum { SOURCE_BYTES = sizeof(struct in6_pktinfo), CONTROL_BYTES = CMSG_SPACE(sizeof(struct in6_pktinfo)) };
    static int penstock_source(struct msghdr *header, char *source)
    {
        int size = 0;
        for (struct cmsghdr *part = CMSG_FIRSTHDR(header); part != NULL; part = CMSG_NXTHDR(header, part)) {
            if (part->cmsg_level == IPPROTO_IP && part->cmsg_type == IP_PKTINFO) {
                struct in_pktinfo here, out = {0};
                memcpy(&here, CMSG_DATA(part), sizeof here);
                out.ipi_spec_dst = here.ipi_spec_dst.s_addr ? here.ipi_spec_dst : here.ipi_addr;
                if (out.ipi_spec_dst.s_addr == 0 || ntohl(out.ipi_spec_dst.s_addr) >> 29 == 7)
                    return 0;
                memcpy(source, &out, sizeof out);
                return sizeof out;
            }
            if (part->cmsg_level == IPPROTO_IPV6 && part->cmsg_type == IPV6_PKTINFO) {
                struct in6_pktinfo here;
                memcpy(&here, CMSG_DATA(part), sizeof here);
                if (IN6_IS_ADDR_MULTICAST(&here.ipi6_addr) || IN6_IS_ADDR_V4MAPPED(&here.ipi6_addr))
                    continue;
                if (!IN6_IS_ADDR_LINKLOCAL(&here.ipi6_addr))
                    here.ipi6_ifindex = 0;
                memcpy(source, &here, sizeof here);
                size = sizeof here;
            }
        }
        return size;
    }

    /* Have a datagram sent from there. `control` has room for CONTROL_BYTES, and is aligned. */
    static void penstock_send_from(struct msghdr *header, void *control, const char *source, size_t size)
    {
        struct cmsghdr *part = control;
        int is_ipv4 = size == sizeof(struct in_pktinfo);
        memset(control, 0, CONTROL_BYTES);
        part->cmsg_level = is_ipv4 ? IPPROTO_IP : IPPROTO_IPV6;
        part->cmsg_type = is_ipv4 ? IP_PKTINFO : IPV6_PKTINFO;
        part->cmsg_len = CMSG_LEN(size);
        memcpy(CMSG_DATA(part), source, size);
        header->msg_control = control;
        header->msg_controllen = CMSG_SPACE(size);
    }
    """
    enum:
        PATH_AT
        SOURCE_BYTES
        CONTROL_BYTES
    uint16_t penstock_port(const sockaddr_storage* name) nogil
    int penstock_source(msghdr* header, char* source) nogil
    void penstock_send_from(msghdr* header, void* control, const char* source, size_t size) nogil

cdef enum:
    BATCH = 32
    SLOT_BYTES = 65536
    # Below it are the ports of services, who are no ordinary clients: whether such a sender may be true is the endpoint's to say.
    UNPRIVILEGED = 1024
    OWN_PORTS_BYTES = 8192  # a bit for each
    # For what comes with a datagram, of more than one kind; for what goes with an answer, in words that align it.
    ANCILLARY_WORDS = 16
    CONTROL_WORDS = 8

assert BATCH == READS_PER_TURN and SLOT_BYTES == MAX_DATAGRAM_BYTES and ANCILLARY_WORDS * sizeof(size_t) == ANCILLARY_BYTES
assert CONTROL_BYTES <= CONTROL_WORDS * sizeof(size_t)

cdef struct Batch:
    # Pages of it that no datagram ever reached are never touched, and cost nothing.
    mmsghdr headers[BATCH]
    iovec blocks[BATCH]
    sockaddr_storage names[BATCH]
    size_t controls[BATCH][ANCILLARY_WORDS]  # only where senders are answered from the address they asked
    char data[BATCH * SLOT_BYTES]

cdef object ABORTED = CloseReason.ABORTED
cdef double CENSUS_AFTER_S = CENSUS_S


cdef class DatagramState:
    """Where a datagram's connection is kept. `NativeDatagram` makes one of it that behaves as on the other engines."""

    cdef public object id
    cdef public object codec
    cdef public object state
    cdef public object close_reason
    cdef public Py_ssize_t bytes_in
    cdef public Py_ssize_t bytes_out
    cdef public Py_ssize_t _answers
    cdef readonly object _endpoint
    cdef readonly object _gate
    cdef readonly object _listener
    cdef readonly bytes _source
    cdef bytes address  # of the sender, as recvmmsg(2) has it

    @property
    def _name(self):
        return name_of(self.address)


cdef class Port(Pollable):
    """A datagram socket in the poller's set.

    Args:
        host: What says how time passes and handlers are called.
        endpoint: Whose socket it is, a `NativeEndpoint`.
        listener: The socket.
        handler: Called here if it is a ``def`` message handler; by the endpoint otherwise.
        kind: The class of a datagram's connection, a `DatagramState`.
    """

    cdef Host host
    cdef object endpoint
    cdef object listener
    cdef object codec
    cdef object gate
    cdef object decode
    cdef object encode
    cdef object function  # None: the endpoint calls the handler
    cdef object kind
    cdef readonly long long answered  # here, without those that the endpoint counts
    cdef bint takes_connection
    cdef bint named  # senders have ports
    cdef bint sourced  # answers say which address they are from
    cdef bint reading
    cdef bint serving  # a batch is being handled
    cdef bint only_counts  # nobody is to be told of a datagram of it, only of how many were handled
    cdef int handled  # so many, and nobody was told yet
    cdef bint failing  # recvmmsg(2) failed at last
    cdef bint cleared  # what is left of it is not to be handled
    # Those of the server's own sockets, a bit each: whether such a sender may be true is the endpoint's to say.
    cdef unsigned char own_ports[OWN_PORTS_BYTES]
    cdef Batch* batch
    # Answers that wait for the end of the batch: to whom, and what. Each is owned.
    cdef int queued
    cdef PyObject* names[BATCH]
    cdef PyObject* sources[BATCH]  # or None
    cdef PyObject* answers[BATCH]

    def __init__(self, Host host, endpoint, listener, handler, kind):
        self.host = host
        self.poller = host.poller
        self.endpoint = endpoint
        self.listener = listener
        self.codec = endpoint.codec
        self.gate = endpoint.gate
        self.decode = self.codec.decode_datagram
        self.encode = self.codec.encode_datagram
        self.kind = kind
        if not handler.is_async:
            self.function = handler.function  # None: callbacks, which the endpoint makes
            self.takes_connection = handler.takes_connection
        self.named = isinstance(listener.sock.getsockname(), tuple)
        self.sourced = endpoint.is_sourced
        cdef int port
        for port in endpoint.own.ports:
            self.own_ports[port >> 3] |= <unsigned char>(1 << (port & 7))

    def __dealloc__(self):
        self.forget()
        if self.batch != NULL:
            self.free_batch()
        if self.poller is not None and self.poller.wheel is not None:
            self.poller.wheel.cancel(self)

    def poll(self, bint reading, bint writing):
        """Read, and tell the endpoint when there is room to write, from the next turn on; or do not."""
        cdef uint32_t mask = (<uint32_t>EPOLLIN if reading else 0) | (<uint32_t>EPOLLOUT if writing else 0)
        if mask and not self.mask:
            self.fd = self.listener.sock.fileno()
            if self.batch == NULL:
                self.make_batch()
            self.poller.adopt(self)
        self.reading = reading
        if mask:
            try:
                self.watch(mask)
            except BaseException:
                if not self.mask:
                    self.poller.release(self)
                raise
        elif self.mask:
            self.unwatch()
            self.poller.release(self)
            self.poller.wheel.cancel(self)
            if not self.serving:
                self.free_batch()

    def flush(self):
        """Send the answers that wait for the end of the batch."""
        if self.queued:
            self.send_queued()

    def clear(self):
        """Forget them, and what was read and is not handled yet."""
        self.cleared = self.serving
        self.forget()

    cdef void failed(self, object error) noexcept:
        self.host.blame(error)

    cdef int expired(self) except -1:
        self.endpoint.count_kernel_drops()
        return 0

    cdef int make_batch(self) except -1:
        cdef int index
        cdef Batch* batch = <Batch*>malloc(sizeof(Batch))
        if batch == NULL:
            raise MemoryError
        if PENSTOCK_DEBUG:
            living.blocks += 1
        memset(batch.headers, 0, sizeof(batch.headers))
        for index in range(BATCH):
            batch.blocks[index].iov_base = &batch.data[index * SLOT_BYTES]
            batch.blocks[index].iov_len = SLOT_BYTES
            batch.headers[index].msg_hdr.msg_iov = &batch.blocks[index]
            batch.headers[index].msg_hdr.msg_iovlen = 1
            batch.headers[index].msg_hdr.msg_name = &batch.names[index]
        self.batch = batch
        return 0

    cdef void free_batch(self) noexcept:
        free(self.batch)
        self.batch = NULL
        if PENSTOCK_DEBUG:
            living.blocks -= 1

    # -- in ------------------------------------------------------------------------------------------------------------

    cdef int ready(self, uint32_t events) except -1:
        if events & EPOLLOUT:
            self.endpoint.send_kept()
        if self.reading and events & ~<uint32_t>EPOLLOUT:
            self.receive()
        return 0

    cdef int receive(self) except -1:
        cdef int count, index
        cdef int most = BATCH
        if self.function is None:
            most = min(most, self.endpoint.room)
        for index in range(most):
            self.batch.headers[index].msg_hdr.msg_namelen = sizeof(sockaddr_storage)
        if self.sourced:
            for index in range(most):
                self.batch.headers[index].msg_hdr.msg_control = &self.batch.controls[index]
                self.batch.headers[index].msg_hdr.msg_controllen = ANCILLARY_WORDS * sizeof(size_t)
        if self.place < 0:
            self.poller.wheel.set(self, self.poller.now + CENSUS_AFTER_S)
        count = recvmmsg(self.fd, self.batch.headers, most, MSG_DONTWAIT, NULL)
        if count < 0:
            # A reply that an earlier peer refused comes back as an error of this socket (udp(7), ECONNREFUSED).
            if errno != EAGAIN and errno != EINTR:
                error = OSError(errno, os.strerror(errno))
                self.endpoint.drop(type(error).__name__)
                self.failing = True
                self.endpoint.has_failed(error)
            return 0
        if self.failing:
            self.failing = False
            self.endpoint.recovered()
        self.serving = True
        self.cleared = False
        try:
            self.only_counts = self.function is not None and self.host.only_counts(DatagramHandled)
            for index in range(count):
                if self.cleared:
                    break
                try:
                    self.take(index)
                except BaseException as error:
                    if is_interrupt(error):
                        raise
                    self.lost(error)
        finally:
            self.serving = False
            if self.mask == 0:
                self.free_batch()
            try:
                if self.queued:
                    self.send_queued()
            finally:
                if self.handled:
                    handled, self.handled = self.handled, 0
                    self.host.counted(DatagramHandled, handled)
        return 0

    cdef void lost(self, object error) noexcept:
        """One datagram is lost, for want of memory perhaps: say so, as far as there is memory for that."""
        try:
            self.endpoint.lost(error)
        except BaseException as another:
            self.host.blame(another)

    cdef int take(self, int index) except -1:
        """Handle one datagram of the batch."""
        cdef msghdr* header = &self.batch.headers[index].msg_hdr
        cdef Py_ssize_t size = self.batch.headers[index].msg_len
        cdef DatagramState conn
        cdef uint16_t port
        cdef char source[SOURCE_BYTES]
        if header.msg_flags & MSG_TRUNC:  # there is more of it than this, and half of it is nothing
            self.endpoint.drop("too_large")
            return 0
        address = PyBytes_FromStringAndSize(<const char*>header.msg_name, header.msg_namelen)
        port = penstock_port(<sockaddr_storage*>header.msg_name) if self.named else UNPRIVILEGED
        if port < UNPRIVILEGED or self.own_ports[port >> 3] >> (port & 7) & 1 or self.gate.judges_datagrams:
            if not self.endpoint.admits(name_of(address)):
                return 0
        data = PyBytes_FromStringAndSize(&self.batch.data[index * SLOT_BYTES], size)
        refusal = None
        try:
            message = self.decode(data)
        except MemoryError:
            raise
        except Exception as error:
            refusal = failure(self.codec, "decode_datagram", error)
        if refusal is not None:
            self.endpoint.refused(refusal)
            return 0
        conn = self.kind()
        conn.id = next_connection_id()
        conn.codec = self.codec
        conn.bytes_in = size
        conn._endpoint = self.endpoint
        conn._gate = self.gate
        conn._listener = self.listener
        conn.address = address
        if self.sourced:
            size = penstock_source(header, source)
            if size:
                conn._source = PyBytes_FromStringAndSize(source, size)
        if self.function is None:
            self.endpoint.serve(conn, message)
            return 0
        try:
            context = self.host.contexts.enter(None)  # of this datagram alone
            try:
                reply = self.function(conn, message) if self.takes_connection else self.function(message)
            finally:
                self.host.contexts.leave(None, context)
            if reply is not None and conn.close_reason is not ABORTED:
                self.answer(conn, reply)
        except BaseException as error:
            if is_interrupt(error):
                raise
            self.endpoint.failed(conn, error)
        if self.only_counts:
            self.handled += 1
        else:
            self.host.told(DatagramHandled(conn, self.listener))
        return 0

    # -- out -----------------------------------------------------------------------------------------------------------

    cdef int answer(self, DatagramState conn, object reply) except -1:
        """Queue what a handler returned, until the end of the batch."""
        codec = conn.codec
        try:
            data = self.encode(reply) if codec is self.codec else codec.encode_datagram(reply)
        except (LocalProtocolError, TypeError, MemoryError):
            raise
        except Exception as error:
            raise failure(codec, "encode_datagram", error)
        if type(data) is not bytes:
            data = as_bytes(codec, "encode_datagram", data)
        # One answer no longer than its question makes nothing larger, whatever the gate's limit: that is at least one.
        if conn._answers == 0 and PyBytes_GET_SIZE(data) <= conn.bytes_in:
            conn._answers = 1
            self.answered += 1
            conn.bytes_out = PyBytes_GET_SIZE(data)
        elif not conn.may_answer(PyBytes_GET_SIZE(data)):
            return 0
        if self.queued == BATCH or PyBytes_GET_SIZE(conn.address) == 0 or self.endpoint.keeps:
            self.endpoint.send(data, conn._to)
            return 0
        Py_INCREF(data)
        Py_INCREF(conn.address)
        Py_INCREF(conn._source)
        self.sources[self.queued] = <PyObject*>conn._source
        self.answers[self.queued] = <PyObject*>data
        self.names[self.queued] = <PyObject*>conn.address
        self.queued += 1
        return 0

    cdef int send_queued(self) except -1:
        """Send what is queued, in order. Nothing of the user's runs before all has been offered to the kernel."""
        cdef mmsghdr headers[BATCH]
        cdef iovec blocks[BATCH]
        cdef size_t controls[BATCH][CONTROL_WORDS]
        cdef PyObject* answers[BATCH]
        cdef PyObject* names[BATCH]
        cdef PyObject* sources[BATCH]
        cdef int index, taken
        cdef int sent = 0
        cdef int count
        cdef list failures = []
        cdef list kept = []
        # They are this call's from here on: what collects garbage while a list grows may send, or clear, in between.
        count = self.queued
        self.queued = 0
        memcpy(answers, self.answers, count * sizeof(PyObject*))
        memcpy(names, self.names, count * sizeof(PyObject*))
        memcpy(sources, self.sources, count * sizeof(PyObject*))
        memset(headers, 0, count * sizeof(mmsghdr))
        for index in range(count):
            blocks[index].iov_base = PyBytes_AS_STRING(<object>answers[index])
            blocks[index].iov_len = PyBytes_GET_SIZE(<object>answers[index])
            headers[index].msg_hdr.msg_iov = &blocks[index]
            headers[index].msg_hdr.msg_iovlen = 1
            headers[index].msg_hdr.msg_name = PyBytes_AS_STRING(<object>names[index])
            headers[index].msg_hdr.msg_namelen = PyBytes_GET_SIZE(<object>names[index])
            if self.sourced and <object>sources[index] is not None:
                penstock_send_from(
                    &headers[index].msg_hdr,
                    &controls[index],
                    PyBytes_AS_STRING(<object>sources[index]),
                    PyBytes_GET_SIZE(<object>sources[index]),
                )
        try:
            while sent < count:
                taken = sendmmsg(self.fd, headers + sent, count - sent, MSG_DONTWAIT)
                if taken > 0:
                    sent += taken
                elif errno == EAGAIN:
                    # On a Unix socket it is this peer's queue that is full; on others what follows has no room either.
                    while sent < count:
                        kept.append((<object>answers[sent], <object>names[sent], <object>sources[sent]))
                        sent += 1
                        if not self.named:
                            break
                elif errno != EINTR:
                    failures.append(errno)
                    sent += 1
        finally:
            let_go(count, answers, names, sources)
        for number in failures:
            self.endpoint.drop(REPLY_TOO_LONG if number == EMSGSIZE else name_of_error(number))
        for data, address, source in kept:
            name = name_of(address)
            self.endpoint.send(data, name if source is None else Sourced(name, source))
        return 0

    cdef void forget(self) noexcept:
        """Let go of what is queued."""
        cdef int count = self.queued
        self.queued = 0
        let_go(count, self.answers, self.names, self.sources)


cdef void let_go(int count, PyObject** answers, PyObject** names, PyObject** sources) noexcept:
    cdef int index
    for index in range(count):
        Py_DECREF(<object>answers[index])
        Py_DECREF(<object>names[index])
        Py_DECREF(<object>sources[index])


cdef str name_of_error(int number):
    """Return what Python calls an error of the system."""
    return type(OSError(number, os.strerror(number))).__name__


cdef object name_of(bytes address):
    """Return a sender's name, as recvfrom(2) has it in Python."""
    cdef const sockaddr_storage* name = <const sockaddr_storage*>PyBytes_AS_STRING(address)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(address)
    cdef Sockname sockname
    if size == 0:
        return None
    if name.ss_family == AF_INET or name.ss_family == AF_INET6:
        rest = note(&sockname, name)
        return peer(&sockname, rest).sockname
    path = address[<Py_ssize_t>PATH_AT:]
    return path if path[:1] == b"\0" else os.fsdecode(path.partition(b"\0")[0])


seal(globals(), (), (DatagramState,))
