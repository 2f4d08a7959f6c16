"""One end of a TLS connection whose records pass in compiled code.

The `ssl.SSLObject` is made, shakes hands, judges and says goodbye as with two buffers in memory, by calls of `ssl`. What is ours is
the BIO under its `SSL*`, which lends OpenSSL what was read and keeps what it writes, and the calls for records once the handshake is
done. The SSL is Python's: it is freed with the object, and the BIO after both.
"""

import ssl

import _ssl

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cython cimport no_gc_clear
from libc.stdlib cimport free

from ..census cimport PENSTOCK_DEBUG, living
from ..connection.layered cimport Below
from ..connection.transport cimport Bypass, Transport
from ..polling.poller cimport PLAIN_BYTES, Poller
from ..sealed cimport seal
from .loaded cimport (
    BIO_TYPE_SOURCE_SINK, SSL_ERROR_SSL, SSL_ERROR_WANT_READ, SSL_ERROR_ZERO_RETURN, openssl, ssl_of
)

from .warm cimport warm_of

from . import loaded
from ....errors import TlsError
from ....reasons import CloseReason
from ...tls.failures import UNSENT
from ...tls.session import RECORD_BYTES as _RECORD_BYTES, Deciphered, MemorySession, Session

cdef extern from *:
    """
    #include <stdlib.h>
    #include <string.h>

    static void *(*penstock_wire_of)(void *bio);
    static void (*penstock_set_flags)(void *bio, int flags);
    static void (*penstock_clear_flags)(void *bio, int flags);

    enum { BIO_READS = 0x01, BIO_RETRIES = 0x0f, BIO_SHOULD_RETRY = 0x08 };

    /* These three are called with or without the interpreter, and touch nothing of Python's. */

    static int penstock_bio_read(void *bio, char *into, int most)
    {
        struct penstock_wire *wire = penstock_wire_of(bio);
        size_t size;
        penstock_clear_flags(bio, BIO_RETRIES);
        if (wire == NULL || into == NULL || most <= 0) {
            return -1;
        }
        if (wire->left == 0) {
            wire->dry = 1;
            penstock_set_flags(bio, BIO_READS | BIO_SHOULD_RETRY);
            return -1;
        }
        size = wire->left < (size_t)most ? wire->left : (size_t)most;
        memcpy(into, wire->at, size);
        wire->at += size;
        wire->left -= size;
        wire->begun = 1;
        return (int)size;
    }

    static int penstock_bio_write(void *bio, const char *data, int size)
    {
        struct penstock_wire *wire = penstock_wire_of(bio);
        size_t wanted, capacity;
        char *grown;
        penstock_clear_flags(bio, BIO_RETRIES);
        if (wire == NULL || data == NULL || size <= 0) {
            return -1;
        }
        wanted = wire->size + (size_t)size;
        if (wanted > wire->capacity) {
            capacity = 2 * wire->capacity > 4096 ? 2 * wire->capacity : 4096;
            if (capacity < wanted) {
                capacity = wanted;
            }
            grown = realloc(wire->out, capacity);
            if (grown == NULL) {
                wire->starved = 1;
                return -1;
            }
            wire->out = grown;
            wire->capacity = capacity;
        }
        memcpy(wire->out + wire->size, data, (size_t)size);
        wire->size = wanted;
        return size;
    }

    static long penstock_bio_ctrl(void *bio, int what, long number, void *pointer)
    {
        struct penstock_wire *wire;
        switch (what) {
        case 10: /* BIO_CTRL_PENDING */
            wire = penstock_wire_of(bio);
            return wire == NULL ? 0 : (long)wire->left;
        case 13: /* BIO_CTRL_WPENDING */
            wire = penstock_wire_of(bio);
            return wire == NULL ? 0 : (long)wire->size;
        case 11: /* BIO_CTRL_FLUSH */
        case 12: /* BIO_CTRL_DUP */
            return 1;
        default: /* of all else this one has nothing */
            return 0;
        }
    }
    """
    void* (*penstock_wire_of)(void*) noexcept nogil
    void (*penstock_set_flags)(void*, int) noexcept nogil
    void (*penstock_clear_flags)(void*, int) noexcept nogil
    int penstock_bio_read(void*, char*, int) noexcept nogil
    int penstock_bio_write(void*, const char*, int) noexcept nogil
    long penstock_bio_ctrl(void*, int, long, void*) noexcept nogil

cdef enum:
    # What `read_records` comes to: all that was fed is deciphered, there is no room for another record, the peer's end, or a kind of
    # failure, as `SSL_get_error` has it.
    ALL = 0
    NO_ROOM = -1
    ENDED = -2
    # What is kept for the next one that enciphers.
    MOST_KEPT = 262144
    # A read of fewer bytes is one whose records are worth less than the allocations that they cost.
    SHORT = 4096

cdef size_t RECORD_BYTES = _RECORD_BYTES

cdef void* method = NULL


cdef void* method_of_bio() except NULL:
    """Return the method of our BIOs: made once, and never freed."""
    global method, penstock_wire_of, penstock_set_flags, penstock_clear_flags
    cdef void* made
    if method == NULL:
        penstock_wire_of = openssl.bio_get_data
        penstock_set_flags = openssl.bio_set_flags
        penstock_clear_flags = openssl.bio_clear_flags
        made = openssl.bio_meth_new(openssl.bio_get_new_index() | BIO_TYPE_SOURCE_SINK, "penstock")
        if made == NULL:
            raise MemoryError
        openssl.bio_meth_set_read(made, <void*>penstock_bio_read)
        openssl.bio_meth_set_write(made, <void*>penstock_bio_write)
        openssl.bio_meth_set_ctrl(made, <void*>penstock_bio_ctrl)
        method = made
    return method


def session_for(Below below, wrap):
    """Return what enciphers for a connection: compiled code where it is known to be right, else `ssl` alone.

    Args:
        below: The connection, as its layer has it.
        wrap: Makes the `ssl.SSLObject`.
    """
    if loaded.why_not() is not None:
        return MemorySession(wrap)
    made = MemorySession(wrap)
    if may_pass(made.object):
        session = OpenSslSession.__new__(OpenSslSession)
        (<OpenSslSession>session).below = below
        if (<OpenSslSession>session).take_over(made.object):
            return session
    return made


cdef bint may_pass(object session) except -1:
    """Whether an `ssl.SSLObject` does nothing of its own with records, and at the end of them."""
    cdef object kind = type(session), known = ssl.SSLObject
    return kind is known or (kind.read is known.read and kind.write is known.write and kind.unwrap is known.unwrap)


@no_gc_clear
cdef class OpenSslSession(Bypass):
    """Between a connection and its socket. See `engines.tls.session`."""

    def __dealloc__(self):
        if self.bio != NULL:
            # Should somebody have kept the `ssl.SSLObject`: its BIO has nothing to read from any more.
            openssl.bio_set_data(self.bio, NULL)
            openssl.bio_free(self.bio)
            if PENSTOCK_DEBUG:
                living.blocks -= 1
        if self.warm is not None and self.warmth.place >= 0:
            self.warm.leave(&self.warmth)
        free(self.wire.out)

    cdef bint take_over(self, object session) except -1:
        """Put our BIO in the place of both buffers. Say whether that was done."""
        cdef void* ssl_pointer = ssl_of(session)
        cdef void* bio
        if ssl_pointer == NULL:
            return False
        bio = openssl.bio_new(method_of_bio())
        if bio == NULL:
            openssl.err_clear_error()
            raise MemoryError
        openssl.bio_set_init(bio, 1)
        openssl.bio_set_data(bio, &self.wire)
        openssl.bio_up_ref(bio)  # the other one is the SSL's
        self.bio = bio
        if PENSTOCK_DEBUG:
            living.blocks += 1
        openssl.ssl_set_bio(ssl_pointer, bio, bio)
        openssl.ssl_set_read_ahead(ssl_pointer, 0)  # a record is either read whole, or waits for its rest: see read_records
        self.ssl = ssl_pointer
        self.object = session
        self.inner = session._sslobj
        return True

    # -- as the layer's session ----------------------------------------------------------------------------------------

    @property
    def has_input(self):
        """Whether something that was fed is still to be looked at."""
        return self.wire.left > 0

    @property
    def has_output(self):
        """Whether something is to be sent."""
        return self.wire.size > 0

    @property
    def keeps_buffers(self):
        """Whether OpenSSL keeps its buffers between two records."""
        return self.warm is not None and self.warmth.place >= 0

    @property
    def has_begun(self):
        """Whether OpenSSL may have the beginning of a record."""
        return self.wire.begun

    def feed(self, bytes data not None):
        """Lend OpenSSL what was read."""
        if self.wire.left:
            data = PyBytes_FromStringAndSize(self.wire.at, self.wire.left) + data
        self.fed = data
        self.wire.at = PyBytes_AS_STRING(data)
        self.wire.left = PyBytes_GET_SIZE(data)

    def take(self):
        """Hand out what is to be sent."""
        cdef bytes data
        if self.wire.size == 0:
            return b""
        data = PyBytes_FromStringAndSize(self.wire.out, self.wire.size)
        free(self.wire.out)
        self.wire.out = NULL
        self.wire.size = self.wire.capacity = 0
        return data

    def decipher(self):
        """Decipher what was fed, until no whole record is left."""
        cdef Poller poller = self.below.transport.poller
        cdef char* plain = poller.take_plain()
        cdef size_t got
        cdef int status = NO_ROOM
        cdef list found = []
        error = None
        try:
            while status == NO_ROOM:
                status = self.read_records(plain, PLAIN_BYTES, &got)
                if status > 0:
                    error = self.problem(status)
                if got:
                    found.append(PyBytes_FromStringAndSize(plain, got))
        finally:
            poller.give_plain(plain)
        if status != ALL:
            self.is_over = True
        return Deciphered(found[0] if len(found) == 1 else b"".join(found), status == ENDED, error)

    def encipher(self, bytes data not None):
        """Encipher the user's bytes, all of them."""
        cdef int status = self.write_records(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
        if status:
            raise self.problem(status)

    def notify(self):
        """Have close_notify sent: nothing is enciphered after it."""
        self.writes = False
        self.notified = True
        if openssl.ssl_shutdown(self.ssl) < 0:  # after an error of the session's: there is none to send
            openssl.err_clear_error()
        self.wire.starved = False  # there was no memory for the alert, which is no matter of what fails next

    def begins(self, layer, link):
        """The handshake is done: where nothing else is between connection and socket, records need no layer from here on."""
        cdef Below below = self.below
        openssl.ssl_set_msg_callback(self.ssl, NULL)  # it was there for the handshake, and each record would call it
        if link is below and below.top is layer and below.transport.layer is below:
            below.bottom = layer  # not what was under it until now, and hands on everything since
            below.bypass = self
            self.layer = layer
            self.warmth.ssl = self.ssl
            self.warmth.place = -1
            self.warmth.begun = &self.wire.begun
            self.warm = warm_of(below.transport.poller)
            self.reads = not self.is_over
            self.writes = not self.notified
            return True
        return False

    def hands_on(self):
        """Decipher what was fed, and have the connection take it."""
        self.pass_on(self.below.transport, self.wire.left)

    # -- between socket and connection ---------------------------------------------------------------------------------

    cdef int receive(self, Transport transport, const char* data, Py_ssize_t size) except -1:
        """Decipher what was just read, and have the connection take it."""
        cdef Poller poller = transport.poller
        if self.wire.left:  # never, since what is left of it is either read or dropped: but it would be before this
            self.feed(PyBytes_FromStringAndSize(data, size))
        else:
            self.wire.at = data
            self.wire.left = size
        if self.warmth.place >= 0:
            self.warmth.used = True
        elif size < SHORT:
            self.warm.heard(&self.warmth, poller.now)
        return self.pass_on(transport, size)

    cdef int pass_on(self, Transport transport, Py_ssize_t size) except -1:
        """Decipher what is on the wire, which has so many bytes, and have the connection take it."""
        cdef Poller poller = transport.poller
        cdef char* plain = NULL
        cdef size_t got
        cdef int status = NO_ROOM
        cdef bint brings = False
        layer, error = self.layer, None
        try:
            plain = poller.take_plain()
            while status == NO_ROOM:
                status = self.read_records(plain, PLAIN_BYTES, &got)
                if status > 0:
                    error = self.problem(status)
                if status != NO_ROOM:
                    self.wire.left = 0  # what follows an end has no meaning
                if status not in (ALL, NO_ROOM):
                    self.is_over = True
                    self.reads = False
                if self.wire.size:  # the answer to a change of keys, or an alert
                    self.flush(transport)
                    transport.layer_keeps(transport.owed())
                if got:
                    brings = True
                    if status == NO_ROOM:  # the rest has to outlive what is handled first
                        self.fed = PyBytes_FromStringAndSize(self.wire.at, self.wire.left)
                        self.wire.at = PyBytes_AS_STRING(self.fed)
                    transport.data_received(plain, got)
        finally:
            self.wire.left = 0  # whatever came of it: what was read is not ours for longer
            if plain != NULL:
                poller.give_plain(plain)
        if self.is_over:
            layer.input_over(error)
        elif not brings:
            self.barren = True
            layer.heard(size, brings_something=False)
        elif self.barren:
            self.barren = False
            layer.heard(size, brings_something=True)
        return 0

    cdef bint seals(self, Transport transport, const char* data, Py_ssize_t size) except -1:
        """Encipher into memory; nothing of Python's runs meanwhile. Say whether `flush` has something to do."""
        cdef Poller poller = transport.poller
        if self.wire.out == NULL and poller.cipher != NULL:
            self.wire.out = poller.cipher
            self.wire.capacity = poller.cipher_size
            poller.cipher = NULL
        self.failed = self.write_records(data, size)
        if self.failed:  # `flush` says at what: an exception is an object of Python's, with which the collector may begin
            self.writes = False
        return True

    cdef int flush(self, Transport transport) except -1:
        """Send what was enciphered."""
        cdef Poller poller = transport.poller
        cdef char* out = self.wire.out
        cdef size_t size = self.wire.size, capacity = self.wire.capacity
        cdef Py_ssize_t queued = 0
        cdef int failed = self.failed
        self.wire.out = NULL
        self.wire.size = self.wire.capacity = 0
        self.failed = 0
        try:
            if failed:
                queued = size  # it has no meaning any more
                try:
                    self.layer.broke(self.problem(failed))
                finally:
                    transport.break_down(None)  # if there was no memory for that: a part of it may be enciphered
            elif size:
                transport.transmit_through(out, size, &queued)
        finally:
            if <size_t>queued < size:
                # There was no memory to queue it. Sent later it would be a message whose sender was told that it is not sent, and
                # without it none that follows can be deciphered.
                free(out)
                transport.break_down(unsent())
            elif poller.cipher == NULL and capacity <= MOST_KEPT:
                poller.cipher = out
                poller.cipher_size = capacity
            else:
                free(out)
        return 0

    # -- OpenSSL -------------------------------------------------------------------------------------------------------

    cdef int read_records(self, char* place, size_t room, size_t* got) noexcept:
        """Decipher what is on the wire, as far as there is room for one record more.

        Without read-ahead OpenSSL takes from the wire what the record at hand needs and no more, and gives one record in one call. So
        when the wire is empty it holds no whole record.

        The queue of errors is the thread's, and an error of others may be left in it. To look first is 200 instructions a record; so it is
        looked at when something went wrong.
        """
        cdef size_t size, before
        cdef int kind
        got[0] = 0
        while self.wire.left:
            before = self.wire.left
            if room - got[0] < RECORD_BYTES:
                return NO_ROOM
            size = 0
            self.wire.dry = False
            if openssl.ssl_read_ex(self.ssl, place + got[0], room - got[0], &size) == 1:
                got[0] += size
                self.wire.begun = False
                continue
            if self.wire.dry:
                break  # the rest of a record is missing
            if not openssl.ssl_in_init(self.ssl):
                openssl.err_clear_error()  # of others: after an error of its own a session is in no state to go on
            kind = openssl.ssl_get_error(self.ssl, 0)
            if kind == SSL_ERROR_WANT_READ and self.wire.left < before:
                continue
            return ENDED if kind == SSL_ERROR_ZERO_RETURN else max(kind, SSL_ERROR_SSL)
        return ALL

    cdef int write_records(self, const char* data, size_t size) noexcept:
        """Encipher. Return 0, or a kind of failure."""
        cdef size_t written
        while size:
            written = 0
            if openssl.ssl_write_ex(self.ssl, data, size, &written) != 1:
                return max(openssl.ssl_get_error(self.ssl, 0), SSL_ERROR_SSL)
            data += written
            size -= written
        return 0

    cdef object problem(self, int kind):
        """Return what OpenSSL has just failed at, as `ssl` would raise it."""
        cdef unsigned long code = openssl.err_peek_last_error()
        cdef const char* words = openssl.err_reason(code) if code and not self.wire.starved else NULL
        openssl.err_clear_error()
        self.wire.starved = False
        if words == NULL:
            text = "OpenSSL failed, and does not say at what"
            name = None
        else:
            text = (<bytes>words).decode("ascii", "replace")
            name = mnemonic(text)
        error = ssl.SSLError(kind, text)
        error.reason = name
        setattr(error, "library", "SSL")
        return error


cdef object unsent():
    """Return why a connection ends of which a record is missing; None where there is no memory to say so."""
    error = None
    try:
        error = TlsError(CloseReason.TLS_ERROR, UNSENT)
    except (MemoryError, RecursionError):
        pass
    return error


def mnemonic(str text):
    """Return the name that `ssl` has for what OpenSSL calls an error: SSL_R_ and its words, as they were up to 3.1."""
    return text.upper().replace("SSL/TLS ALERT", "SSLV3 ALERT").replace(" ", "_")


Session.register(OpenSslSession)


seal(globals())
