"""The same from a thread that has no loop: `connect_sync`."""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, overload

from ..address import Address, Kind, Peer
from ..codecs.base import Codec
from ..config import Limits
from ..core.deadlines import Deadline
from ..engines.blocking.connection import BlockingConnection
from ..engines.blocking.driving import Host
from ..engines.blocking.poller import Poller
from ..engines.blocking.timers import Timers
from ..engines.listener import peer_of
from ..errors import ConfigurationError, ConnectError, Phase, TimedOutError
from ..reasons import CloseReason
from .connect import DEFAULT_OPTIONS, DEFAULT_TIMEOUTS, read_target
from .connection import Allowance
from .eyeballs import STAGGER_S, NoneAnsweredError, interleave
from .failures import connect_timed_out, most_telling, none_answered, not_resolved
from .network import Candidate, kind_of, local_address, lookup_of, only_reachable, open_socket
from .options import ClientTimeouts, SocketOptions
from .patience import earlier

M = TypeVar("M")


class SyncConnection(BlockingConnection[M]):
    """A connection that was made by `connect_sync`: `BlockingConnection`, with what only a client asks of it."""

    __slots__ = ("_allowance",)

    def __init__(
        self,
        host: Host,
        sock: socket.socket,
        poller: Poller,
        codec: Codec[M],
        *,
        ends: tuple[Peer, Address],
        allowance: Allowance,
        records: bool,
    ) -> None:
        super().__init__(host, sock, poller, codec, peer=ends[0], local=ends[1], records=records)
        self._allowance = allowance
        self._read_s = allowance.read_s
        self._blames = False
        if allowance.total_at is not None:
            self.set_timeouts(lifetime_s=max(0.001, allowance.total_at - host.clock.time()))

    def request(self, message: M, timeout_s: float | None = None) -> M:
        """Send one message; return the next one that comes.

        Args:
            message: What to send.
            timeout_s: As of `receive`, from the moment when the message was queued.

        Raises:
            What `send` and `receive` raise. After a TimeoutError the reply may still come: close the connection.
        """
        with self._lock:
            self._send_message(message)
            if not self._ready:
                self._fill(timeout_s)
            reply = self._ready.popleft()
        if self._events:
            self._tell()
        return reply

    def set_timeouts(self, **timeouts: float | None) -> None:
        """Change this connection's timeouts."""
        super().set_timeouts(**timeouts)
        now = self._deadlines.timeouts
        # By itself a client blames nobody for silence.
        self._blames = (now.first_message_s, now.idle_s, now.message_s) != (None, None, None)

    def _timed_out(self, which: Deadline) -> bool:
        if which is not Deadline.LIFETIME:
            return super()._timed_out(which)
        self._lose(CloseReason.LIFETIME)  # nobody waits for a flush either
        return True

    def _why_not(self) -> Exception:
        total_s = self._allowance.total_s
        if self.close_reason is CloseReason.LIFETIME and total_s is not None:
            return TimedOutError(Phase.TOTAL, total_s)
        return super()._why_not()


@overload
def connect_sync(
    address: str | Address,
    *,
    codec: Codec[M],
    timeouts: ClientTimeouts = ...,
    options: SocketOptions = ...,
    limits: Limits | None = ...,
) -> SyncConnection[M]: ...
@overload
def connect_sync(
    address: str | Address,
    *,
    codec: str = ...,
    timeouts: ClientTimeouts = ...,
    options: SocketOptions = ...,
    limits: Limits | None = ...,
) -> SyncConnection[Any]: ...


def connect_sync(
    address: str | Address,
    *,
    codec: Codec[Any] | str = "lines",
    timeouts: ClientTimeouts = DEFAULT_TIMEOUTS,
    options: SocketOptions = DEFAULT_OPTIONS,
    limits: Limits | None = None,
) -> SyncConnection[Any]:
    """Connect as `connect` does, without a loop; return once the connection can be used, by any thread.

    ``with connect_sync("tcp://127.0.0.1:9000") as conn:`` closes it at the end of the block. Its methods are those of
    `Connection` that wait where those are awaited, and ``makefile``.

    Args:
        address: ``tcp://``, ``unix:`` or ``unix+seqpacket:``.
        codec: A codec, or its name and options.
        timeouts: How long to wait, for what.
        options: Of the socket.
        limits: Of its buffers.

    Raises:
        ConnectError, ConnectTimeoutError, ConfigurationError: As `connect`.
    """
    target, chosen = read_target(address, codec)
    if target.is_datagram:
        raise ConfigurationError(f"{target}: connect_sync makes connections; for datagrams there is connect")
    began_at = time.monotonic()
    total_at = None if timeouts.total_s is None else began_at + timeouts.total_s
    until = earlier(None if timeouts.connect_s is None else began_at + timeouts.connect_s, total_at)
    phase = Phase.RESOLVE
    try:
        candidates = only_reachable(_candidates(target, until), options)
        phase = Phase.CONNECT
        sock = _race(interleave(candidates, lambda candidate: candidate.family), options, until)
        phase = Phase.HANDSHAKE
        return _connection(target, chosen, sock, timeouts=timeouts, limits=limits or Limits(), total_at=total_at)
    except TimeoutError:
        raise connect_timed_out(target, timeouts, phase) from None
    except NoneAnsweredError as error:
        raise none_answered(target, error.failures) from most_telling(error.failures)
    except socket.gaierror as error:
        raise not_resolved(target, error) from error
    except OSError as error:
        raise ConnectError.from_os_error(str(target), error) from error


def _connection(
    target: Address,
    codec: Codec[Any],
    sock: socket.socket,
    *,
    timeouts: ClientTimeouts,
    limits: Limits,
    total_at: float | None,
) -> SyncConnection[Any]:
    poller = None
    try:
        poller = Poller()
        clock = Timers(poller.wake)
        host = Host(clock, timeouts.of_connection(), limits, deque.clear, timers=clock)
        ends = peer_of(sock, sock.getpeername()), local_address(sock, target.scheme)
        allowance = Allowance(timeouts.read_s, timeouts.total_s, total_at)
        records = target.kind is Kind.SEQPACKET
        return SyncConnection(host, sock, poller, codec, ends=ends, allowance=allowance, records=records)
    except BaseException:
        if poller is not None:
            poller.close()
        sock.close()
        raise


def _candidates(target: Address, until: float | None) -> Sequence[Candidate]:
    """Resolve, in time: getaddrinfo(3) cannot be interrupted, so in a thread that nobody waits for any longer."""
    kind = kind_of(target)
    if target.is_unix:
        return [Candidate(socket.AF_UNIX, kind, target.unix_name)]
    look_up = lookup_of(target, kind)
    try:
        return look_up(socket.AI_NUMERICHOST)
    except socket.gaierror as error:
        if error.errno != socket.EAI_NONAME:
            raise
    if until is None:
        return look_up(0)
    answer: list[Callable[[], list[Candidate]]] = []

    def run() -> None:
        try:
            found = look_up(0)
        except Exception as error:
            failure = error

            def fail() -> list[Candidate]:
                raise failure

            answer.append(fail)
        else:
            answer.append(lambda: found)

    thread = threading.Thread(target=run, name="penstock-resolve", daemon=True)
    thread.start()
    thread.join(max(0.0, until - time.monotonic()))
    if not answer:
        raise TimeoutError
    return answer[0]()


def _race(candidates: Sequence[Candidate], options: SocketOptions, until: float | None) -> socket.socket:
    """Connect to the first that answers, as `eyeballs.race` does; the sockets of the others are closed.

    Raises:
        NoneAnsweredError: All failed.
        TimeoutError: None answered in time.
    """
    waiting = deque(candidates)
    failures: list[tuple[Candidate, OSError]] = []
    with contextlib.ExitStack() as losers, selectors.DefaultSelector() as selector:
        next_at = time.monotonic()
        while waiting or selector.get_map():
            now = time.monotonic()
            if until is not None and now >= until:
                raise TimeoutError
            if waiting and (now >= next_at or not selector.get_map()):
                candidate = waiting.popleft()
                next_at = now + STAGGER_S
                try:
                    sock = open_socket(candidate, options)
                    losers.callback(sock.close)
                    sock.setblocking(False)
                    number = sock.connect_ex(candidate.sockaddr)
                except OSError as error:
                    failures.append((candidate, error))
                    continue
                if number == 0:
                    return _winner(sock)
                if number != errno.EINPROGRESS:
                    failures.append((candidate, OSError(number, os.strerror(number))))
                    continue
                selector.register(sock, selectors.EVENT_WRITE, candidate)
            wake_at = earlier(next_at if waiting else None, until)
            for key, _ in selector.select(None if wake_at is None else max(0.0, wake_at - time.monotonic())):
                assert isinstance(key.fileobj, socket.socket)
                number = key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if number == 0:
                    return _winner(key.fileobj)
                selector.unregister(key.fileobj)
                failures.append((key.data, OSError(number, os.strerror(number))))
                next_at = time.monotonic()  # the next one's turn
    raise NoneAnsweredError(failures)


def _winner(sock: socket.socket) -> socket.socket:
    """Take the socket from its object, which is closed with those of the losers."""
    family, kind = sock.family, sock.type
    return socket.socket(family, kind, fileno=sock.detach())
