"""What is under a layer of a connection, and over it: the connection's socket as a link, the connection as a user.

`engines.link` says what each of the two is told and asked for; a layer written for links in Python is used as it is.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from ..sealed cimport seal

cdef object session_for = None


cdef class Below(Stack):
    """The link under a layer, and its user. Nothing is done after the end: the connection has let go of it.

    A layer that has done its work has its user use the link under it: where that is this one, nothing is between the
    connection and its socket any more.
    """

    # -- as a link -----------------------------------------------------------------------------------------------------

    @property
    def queued_bytes(self):
        """How many bytes wait for the kernel."""
        return self.transport.owed()

    @property
    def socket(self):
        """None: the connection has its descriptor, and no object for it."""
        return None

    @property
    def tls(self):
        """None: there is a socket under it."""
        return None

    @property
    def acts_now(self):
        """False: the connection asks its socket itself."""
        return False

    def send(self, bytes data):
        """Send, now or when the kernel takes it."""
        self.transport.transmit_through(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), NULL)
        return self.transport.owed()

    def take_turns(self, *, bint wanted):
        """Be read only as often in a turn of the loop as all such connections may together."""
        self.rationed = wanted

    def pause_reading(self):
        """Leave what comes with the kernel."""
        self.transport.pause_reading()

    def resume_reading(self):
        """Read again."""
        self.transport.resume_reading()

    def send_eof(self):
        """End our direction after what was sent."""
        self.transport.end_output_below()

    def close(self):
        """Send what waits, then close."""
        self.transport.shut_below()

    def abort(self):
        """Close now."""
        self.transport.break_down(None)

    def watch(self, high, low):
        """Nothing: the connection counts for itself."""

    def read_now(self):
        """Nothing: see `acts_now`."""

    def send_now(self):
        """Nothing: see `acts_now`."""

    def tls_session(self, wrap):
        """Return what enciphers and deciphers where TLS is the layer."""
        global session_for
        if session_for is None:
            from ..openssl.session import session_for  # which needs this module
        return session_for(self, wrap)

    # -- as a user -----------------------------------------------------------------------------------------------------

    def layer_begins(self, link):
        """Wait for what the layer needs of the peer."""
        self.top = link
        self.transport.layer_begins()

    def layer_begun(self):
        """The layer has it."""
        self.transport.layer_begun()

    def layer_failed(self, error):
        """The layer will never have it."""
        self.transport.layer_failed(error)

    def introduced(self, header):
        """Be the connection of whom a proxy speaks for."""
        return self.transport.introduced(header)

    def connection_made(self, link):
        """Go on: the layer has begun."""
        if link is self:
            self.transport.layer = self.bottom = self.top = None  # and with them the cycle through the layer
        else:
            self.top = link
        self.transport.linked()

    def data_received(self, bytes data):
        """Take what came through the layer; not what one under TLS had kept in clear."""
        if self.transport.refuses_clear():
            return
        self.transport.data_received(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))

    def eof_received(self):
        """Take the peer's EOF."""
        self.transport.eof_received()

    def input_cut(self, error):
        """Break: what came may not be all. Where nothing more was expected it is as good as an end."""
        if self.transport._closing:
            self.transport.eof_received()
        else:
            self.transport.break_down(error)

    def output_rose(self, queued_bytes):
        """Hold what the layer keeps to the hard limit: the rest the connection counts itself."""
        self.transport.layer_keeps(queued_bytes)

    def output_sank(self):
        """The layer keeps less than before."""
        self.transport.output_sank()

    def connection_broke(self, error):
        """Close: the layer cannot go on."""
        self.transport.break_down(error)

    def connection_lost(self, error):
        """Nothing: the connection is what told the layer."""


seal(globals())
