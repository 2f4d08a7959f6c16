"""The transport as Python sees it: an asyncio transport for protocols written in Python, on the engine's poller."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE

from .poller cimport Poller
from .transport cimport Transport


cdef class StreamTransport(Transport):
    """Moves the bytes of a connected socket for an `asyncio.Protocol`.

    Args:
        poller: Serves it.
        sock: Connected and non-blocking; the transport closes it.
        protocol: Its ``connection_made`` is called at once, every other method as `asyncio.Protocol` says.
        read_bytes: The most that is read at once.
    """

    cdef object protocol
    cdef object sock

    def __init__(self, Poller poller, sock, protocol, read_bytes):
        self.poller = poller
        self.read_size = read_bytes
        self.high = 64 * 1024
        self.low = 16 * 1024
        self.sock = sock
        self.protocol = protocol
        self.open(sock.fileno())

    def begin(self):
        """Tell the protocol, then read."""
        try:
            self.protocol.connection_made(self)
        finally:
            self.resume_reading()

    cdef int data_received(self, const char* data, Py_ssize_t size) except -1:
        self.poller.direct = True
        try:
            self.protocol.data_received(PyBytes_FromStringAndSize(data, size))
        finally:
            self.poller.direct = False
        return 0

    cdef int eof_received(self) except -1:
        self.poller.direct = True
        try:
            if not self.protocol.eof_received():
                self.shut()
        finally:
            self.poller.direct = False
        return 0

    cdef int connection_lost(self, object error) except -1:
        protocol, self.protocol = self.protocol, None
        protocol.connection_lost(error)
        return 0

    cdef int close_descriptor(self) except -1:
        self.fd = -1
        self.sock.close()
        return 0

    cdef int pause_writing(self) except -1:
        self.protocol.pause_writing()
        return 0

    cdef int resume_writing(self) except -1:
        self.protocol.resume_writing()
        return 0

    cdef int failed(self, object error) except -1:
        self.poller.loop.call_exception_handler(
            {"message": "a protocol raised", "exception": error, "transport": self, "protocol": self.protocol}
        )
        return self.break_down(error)

    # -- asyncio.Transport ---------------------------------------------------------------------------------------------

    def get_extra_info(self, name, default=None):
        """Return the socket, or one of its addresses."""
        if name == "socket":
            return self.sock
        if name == "sockname":
            return self.sock.getsockname()
        return default

    def get_protocol(self):
        """Return whom it reports to."""
        return self.protocol

    def set_protocol(self, protocol):
        """Report to another protocol from now on."""
        self.protocol = protocol

    def is_closing(self):
        """Whether it is closed or about to be."""
        return bool(self.shutting)

    def is_reading(self):
        """Whether bytes are being read."""
        return bool(self.reading) and not self.shutting

    def write(self, data):
        """Send bytes after what was written before."""
        cdef bytes whole = data if type(data) is bytes else bytes(data)
        if not self.sending and self.out == NULL:
            self.transmit_object(whole)
        else:
            self.gather(PyBytes_AS_STRING(whole), PyBytes_GET_SIZE(whole))
            self.transmit()

    def writelines(self, pieces):
        """Send several pieces, one after the other."""
        self.write(b"".join(pieces))

    def get_write_buffer_size(self):
        """Return how many bytes wait for the kernel."""
        return self.owed()

    def get_write_buffer_limits(self):
        """Return the low and the high watermark."""
        return self.low, self.high

    def set_write_buffer_limits(self, high=None, low=None):
        """Set the watermarks, in bytes."""
        if high is None:
            high = 64 * 1024 if low is None else 4 * low
        self.set_watermarks(high, high // 4 if low is None else low)

    def can_write_eof(self):
        """Always."""
        return True

    def write_eof(self):
        """End our direction after what was written."""
        self.end_output()

    def close(self):
        """Send what was written, then close."""
        self.shut()

    def abort(self):
        """Close without sending what was written."""
        self.break_down(None)
