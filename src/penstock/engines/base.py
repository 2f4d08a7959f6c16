"""The interface every engine implements, and the laws it obeys while doing so.

An engine is handed open listeners and a plan; it accepts, reads, cuts, calls handlers, writes, keeps deadlines and
closes. Everything above it (server, command line, client) and everything below it (codecs, core) is the same for all
engines. ``tests/conformance/`` holds every engine to these laws; the pure engine is the oracle.

1.  Messages of one connection are handled in the order their frames were sent, whatever way the network cut them, and
    never two at a time. Replies leave in the order of their messages; frames never interleave.
2.  Every connection that was accepted gets exactly one ``closed`` event with exactly one reason, after its handler has
    ended. The first cause is the reason.
3.  After a bad frame the messages before it are still handled and their replies sent; nothing after it is looked at.
4.  `close` flushes: what was posted before it arrives, even when the peer's unread input would have made the kernel
    answer with a reset. Called in a callback or a message handler it takes effect when that returns, so that the reply
    it returns is still sent. `abort` does not flush, and the peer sees a reset where the transport has one.
5.  EOF from the peer ends its direction only. A message handler answers what was received before it, then the
    connection closes.
6.  An exception of a handler is reported once and ends that connection alone, gracefully: SystemExit and
    KeyboardInterrupt too, unless a signal raised them (`core.interrupts`). A `RemoteProtocolError` that it raises by
    itself is no failure of its own: the peer broke the protocol, and the connection ends with that reason. A reply that
    its codec does not send is the handler's failure: the replies before it arrive, none after it is sent. Engines in
    Python frame the replies of one read together: the handlers of messages that came with it may have been called.
7.  Output over the high watermark stops reading until it is at or below the low one; over the hard limit it ends the
    connection, unless a policy has what is posted give way. A message that has left in part is never given up. That a
    peer who does not read is not read is a server's defence: a client reads on, until it holds more than
    ``limits.read_bytes`` that nobody receives. Else both could wait for the other to read.
8.  A handler may close its own connection, another one, or stop the server, while a batch of messages is being
    handled; no message is handled after its connection was closed.
9.  A connection that sends without pause does not keep the others from their turn: at most ``limits.batch_messages``
    of its messages are handled before the engine looks at the others, and no more once they have taken long enough
    together (`core.turns`).
10. Draining stops accepting and reading at once. What was received whole is handled and answered; then the connection
    closes.
11. A peer is late when its bytes are, not when the engine is: before a deadline that blames it ends a connection, what
    has come is read and what waits is sent, once. A process that did not run for a while (it was stopped, the machine
    was suspended, a handler held the loop) ends nobody for that.
12. No sequence of awaits of ours keeps a loop from its turn, whether each of them waits, goes on at once or raises at
    once (`core.turns`). Sending on a connection that was lost raises from the moment when its loss is known here, be it
    the send before that met it.
13. Callbacks of one connection never overlap. A deadline that passes while one is at work is told (`on_timeout`) when
    that has returned, before any further message; not if it has closed the connection or failed, and not after
    `on_eof`. It has ``timeouts.drain_s`` for that. Whether an idle connection may stay (`on_idle`) is asked then, too,
    unless it has been idle for as long again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Collection, Sequence
from typing import TYPE_CHECKING, Any

from ..config import DEFAULT_THREADS

if TYPE_CHECKING:
    import socket

    from ..address import Peer
    from ..core.contract import Connection, ConnectionBase
    from ..core.memory import Pressure
    from .client import ClientPlan, SyncConnection
    from .handover import Mover
    from .listener import Listener
    from .luggage import Arrival
    from .plan import Plan


class Adoption(ABC):
    """A connection of another process that is held there, and whose handler has taken over here. One of two follows.

    Attributes:
        connection: It.
        is_over: Whether one of them was done.
        among: Those of its server for which none was: it gives them up when it cuts what is left.
    """

    connection: Any  # of the engine's own kind
    is_over: bool = False
    among: set[Adoption] | None = None

    def begin(self) -> None:
        """Read and send from now on: the other process does no longer. Nothing once it was given up."""
        if not self.is_over:
            self._is_done()
            self._begin()

    def give_up(self) -> None:
        """Leave it to the other process, which goes on with it. May be repeated, and comes too late after `begin`."""
        if not self.is_over:
            self._is_done()
            self._give_up()

    def _is_done(self) -> None:
        self.is_over = True
        if self.among is not None:
            self.among.discard(self)
            self.among = None

    @abstractmethod
    def _begin(self) -> None:
        """As `begin`, once."""

    @abstractmethod
    def _give_up(self) -> None:
        """As `give_up`, once."""


class EngineServer(ABC):
    """One engine at work on one plan. All methods return at once and are called on the thread that started it."""

    @property
    @abstractmethod
    def connections(self) -> Collection[ConnectionBase[Any]]:
        """The connections that have not ended, handler included."""

    @property
    @abstractmethod
    def messages(self) -> tuple[int, int]:
        """How many messages came in, and how many were taken to be sent: of connections, ended or not, and as answers.

        Datagrams that came in are told by events, and not among them.
        """

    @abstractmethod
    def start(self) -> None:
        """Begin to accept."""

    @abstractmethod
    def suspend(self) -> None:
        """Stop accepting; connections stay. New ones wait in the backlog. May be repeated."""

    @abstractmethod
    def resume(self) -> None:
        """Accept again. May be repeated."""

    @abstractmethod
    def drain(self, timeout_s: float | None, spread_s: float = 0.0) -> None:
        """Stop accepting, let what was received be answered, close; cut what is left after ``timeout_s`` seconds.

        Args:
            timeout_s: When what is left is cut; None for never.
            spread_s: Over how long connections are told, in random order; those not told yet are served as ever.
        """

    @abstractmethod
    def stop(self) -> None:
        """Stop accepting and abort every connection."""

    def serve_accepted(self, sock: socket.socket, peer: Peer, listener: Listener) -> None:
        """Serve a connection that was accepted elsewhere, after `start`, and that the gate has let in.

        Args:
            sock: Non-blocking. It is the connection's from now on.
            peer: Who is at the other end.
            listener: Where it was accepted; none of this server's.

        Raises:
            TlsMaterialError: As of `Listener.refuse_clear`. The socket is the caller's still.
        """
        raise NotImplementedError

    # -- to another process, and from one ------------------------------------------------------------------------------

    @property
    def mover(self) -> Mover | None:
        """What tells other processes of its connections, and reads what they tell; None where none of them move."""
        return None

    def adopt(self, sock: socket.socket, arrival: Arrival) -> Adoption:
        """Have a connection of another process, and its handler take over. It is neither read nor sent to yet.

        Args:
            sock: Connected and non-blocking. It is the connection's from now on, and is closed when this raises.
            arrival: What `mover` has made of what was told.

        Raises:
            Exception: What the handler raises; it was reported.
        """
        raise NotImplementedError

    def shed_load(self, pressure: Pressure, excess_bytes: int) -> None:  # noqa: B027 - an engine may have nothing to give
        """Do what the connections can do about memory. Called with each reading that is not calm, and with the next.

        Args:
            pressure: What is to be done. Refusing new connections is the gate's part.
            excess_bytes: What has to come back by ending connections, at ``Pressure.SHED``.
        """


class Engine(ABC):
    """A way to move bytes, for servers and for clients.

    Attributes:
        name: The word users write for it: ``--engine NAME``.
        descriptors_per_connection: How many descriptors a stream connection has open.
        default_threads: Most threads that handlers may occupy where nobody says.
        thread_per_connection: Whether a connection holds one of them as long as it is open.
    """

    name: str
    descriptors_per_connection: int = 1
    default_threads: int = DEFAULT_THREADS
    thread_per_connection: bool = False

    @abstractmethod
    def refuses(self, plan: Plan) -> str | None:
        """Return why this engine cannot do the plan, in words that say what to do instead; None when it can."""

    def why_ssl(self) -> str | None:
        """Return why `ssl` alone enciphers for this engine's connections; None where compiled code does."""
        return f"the {self.name} engine has nothing else"

    @abstractmethod
    def serve(self, listeners: Sequence[Listener], plan: Plan) -> EngineServer:
        """Prepare to serve. The listeners stay the caller's to close."""

    @abstractmethod
    def connect(self, sock: socket.socket, plan: ClientPlan) -> Awaitable[Connection[Any]] | SyncConnection[Any]:
        """Make a client's connection of a socket, in a loop once awaited.

        Args:
            sock: Connected and non-blocking. It is the connection's from now on, and is closed when this raises.
            plan: What the client wants of it.

        Returns:
            The connection. On a loop one of streams or records is a `ClientConnection`.

        Raises:
            OSError: The socket or the system gives no connection.
        """


class LoopEngine(Engine):
    """An engine of the running loop."""

    @abstractmethod
    async def connect(self, sock: socket.socket, plan: ClientPlan) -> Connection[Any]:
        """Make a connection, which is used in the running loop. Cancelling this closes the socket."""


class ThreadEngine(Engine):
    """An engine that needs no loop: its connections are used by threads."""

    @abstractmethod
    def connect(self, sock: socket.socket, plan: ClientPlan) -> SyncConnection[Any]:
        """Make a connection, which no thread serves but those that use it."""
