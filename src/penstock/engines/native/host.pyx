"""What connections need of the server that made them, kept once for all of them."""

from .drivers.contexts cimport Contexts
from .framing.choice cimport framing_of
from .polling.poller cimport Pollable, Poller
from .sealed cimport seal

from ...core.compiled_law.durations cimport Durations
from ...core.compiled_law.levels cimport Levels

from ...core.interrupts import is_interrupt
from ...core.turns import LONGEST_S as _LONGEST_S, turn_of

cdef double LONGEST_S = _LONGEST_S


cdef class Host:
    """A server, as its connections see it; of a client, each connection has one.

    Args:
        poller: Serves their sockets.
        loop: Whose it is.
        codec: What cuts their streams into messages, at first.
        timeouts: At first.
        limits: Of their buffers.
        clock: Where time comes from; None for the poller's own.
        emit: Told of every event.
        budget: What all peers together are owed.
        idle: Called when a connection has left, once the server is told to end.
        gate: Counts those who were let in; a client has none.
        server: As of the plan.
        name: Of their tasks.
    """

    def __init__(
        self, Poller poller, loop, codec, *, timeouts, limits, clock, emit, budget, idle=None, gate=None, server=None,
        name=None
    ):
        self.poller = poller
        self.loop = loop
        self.clock = clock
        self.emit = emit
        self.gate = gate
        self.server = server
        self.idle = idle
        self.budget = budget
        self.turn = turn_of(loop)
        self.contexts = Contexts()
        self.durations = Durations(timeouts)
        self.codec = codec
        self.framing = framing_of(codec)
        self.name = name
        self.levels = Levels(limits)
        self.batch_messages = limits.batch_messages
        self.handshakes = {}
        self.upgrades = {}
        self.connections = []

    def handle_with(self, handler):
        """Have messages handled by a function, if that is what the handler is. Before the first connection."""
        if not handler.converses and handler.function is not None:
            self.function = handler.function
            self.takes_connection = handler.takes_connection

    def survive_bad_messages(self, answer):
        """Have messages that cannot be decoded passed over: ``on_bad_message`` of a handler. Before the first connection."""
        self.skips_bad = answer != "close"
        self.callbacks_answer = answer == "callbacks"
        self.on_bad_message = answer if callable(answer) else None
        if self.skips_bad:
            self.framing = None

    def join(self):
        """Begin to be served."""
        self.poller.hosts.append(self)

    def part(self):
        """Be served no longer: all connections have left."""
        if self in self.poller.hosts:
            self.poller.hosts.remove(self)

    def look_after_tasks(self):
        """As `Poller.look_after_tasks`."""
        for connection in self.connections[:]:
            (<Pollable>connection).look_after_task()

    cdef double time(self) except -1:
        """Read the clock; within a batch of events, as of its beginning."""
        if self.clock is not None:
            return self.clock.time()
        return self.poller.now if self.poller.dispatching else self.poller.clock()

    cdef bint row_is_long(self) noexcept:
        """Say whether the messages at hand have taken long enough since they were read."""
        cdef double now = self.poller.clock()
        if self.row_until == 0.0:
            self.row_until = (self.poller.now if self.poller.dispatching else now) + LONGEST_S
        self.row_is_over = now > self.row_until
        return self.row_is_over

    cdef int left(self) except -1:
        """A connection has left: there may be room for another, or nobody left to wait for."""
        if self.gate is not None and self.gate.waits:
            self.gate.wake()
        if self.ending:
            self.idle()
        return 0

    cdef int told(self, object event) except -1:
        """Emit an event. Whatever an observer raises is not the connection's."""
        try:
            self.emit(event)
        except BaseException as error:
            if is_interrupt(error):
                raise
            self.blame(error)
        return 0

    cdef bint only_counts(self, object kind) except -1:
        """Say whether the number of a kind's events is all that anybody is to be told, as of now."""
        try:
            return self.tally is not None and self.tally.only_counts(kind)
        except BaseException as error:
            if is_interrupt(error):
                raise
            self.blame(error)
        return False

    cdef int counted(self, object kind, int count) except -1:
        """Tell how many there were."""
        try:
            self.tally.count(kind, count)
        except BaseException as error:
            if is_interrupt(error):
                raise
            self.blame(error)
        return 0

    cdef void blame(self, object error) noexcept:
        """Report that the engine itself failed, as far as it can still be reported."""
        try:
            self.loop.call_exception_handler(
                {"message": "the native engine failed to serve a connection", "exception": error}
            )
        except Exception:
            pass  # no memory even to say so


seal(globals())
