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

from ..address import Address, Kind
from ..codecs.base import Codec
from ..codecs.names import BytesCodecName, TextCodecName
from ..config import Limits
from ..core.deadline import Deadline
from ..engines.client import SyncConnection
from ..engines.registry import blocking
from ..engines.wire import MAX_WAIT_S
from ..errors import ConnectError, Phase, TlsError
from .clocks import earlier
from .connect import DEFAULT_OPTIONS, DEFAULT_TIMEOUTS, DEFAULT_TLS, read_target
from .eyeballs import STAGGER_S, NoneAnsweredError, interleave
from .failures import connect_timed_out, most_telling, no_tls, none_answered, not_resolved
from .icmp import icmp_socket
from .network import (
    UNIX_RETRY_S,
    Candidate,
    connected_to_unix,
    kind_of,
    lookup_of,
    only_reachable,
    open_socket,
    refuse_itself,
)
from .options import ClientTimeouts, SocketOptions
from .plan import plan_for
from .tls import ClientTls, handshake_for

M = TypeVar("M")


@overload
def connect_sync(
    address: str | Address,
    *,
    codec: Codec[M],
    timeouts: ClientTimeouts = ...,
    options: SocketOptions = ...,
    tls: ClientTls = ...,
    limits: Limits | None = ...,
) -> SyncConnection[M]: ...
@overload
def connect_sync(
    address: str | Address,
    *,
    codec: BytesCodecName = ...,
    timeouts: ClientTimeouts = ...,
    options: SocketOptions = ...,
    tls: ClientTls = ...,
    limits: Limits | None = ...,
) -> SyncConnection[bytes]: ...
@overload
def connect_sync(
    address: str | Address,
    *,
    codec: TextCodecName,
    timeouts: ClientTimeouts = ...,
    options: SocketOptions = ...,
    tls: ClientTls = ...,
    limits: Limits | None = ...,
) -> SyncConnection[str]: ...
@overload
def connect_sync(
    address: str | Address,
    *,
    codec: str,
    timeouts: ClientTimeouts = ...,
    options: SocketOptions = ...,
    tls: ClientTls = ...,
    limits: Limits | None = ...,
) -> SyncConnection[Any]: ...


def connect_sync(
    address: str | Address,
    *,
    codec: Codec[Any] | str = "lines",
    timeouts: ClientTimeouts = DEFAULT_TIMEOUTS,
    options: SocketOptions = DEFAULT_OPTIONS,
    tls: ClientTls = DEFAULT_TLS,
    limits: Limits | None = None,
) -> SyncConnection[Any]:
    """Connect as `connect` does, without a loop; return once the connection can be used, by any thread.

    ``with connect_sync("tcp://127.0.0.1:9000") as conn:`` closes it at the end of the block. Its methods are those of
    `Connection` that wait where those are awaited, and ``makefile``.

    Args:
        address: As of `connect`.
        codec: A codec, or its name and options.
        timeouts: How long to wait, for what.
        options: Of the socket.
        tls: What to trust, where TLS is spoken.
        limits: Of its buffers.

    Raises:
        ConnectError, ConnectTimeoutError, ConfigurationError: As `connect`.
    """
    target, chosen = read_target(address, codec)
    began_at = time.monotonic()
    total = None if timeouts.total_s is None else Deadline(began_at + timeouts.total_s, timeouts.total_s)
    connect_at = None if timeouts.connect_s is None else began_at + timeouts.connect_s
    until = earlier(connect_at, None if total is None else total.at)
    phase = Phase.RESOLVE
    handshake = handshake_for(target, tls)
    try:
        candidates = only_reachable(_candidates(target, until), options)
        phase = Phase.CONNECT
        name = wire = None
        if target.kind is Kind.RAW:
            name = candidates[0].sockaddr
            sock, wire = icmp_socket(target, candidates[0], options)
        elif target.is_unix:
            sock = _unix_socket(candidates[0], options, until)
        else:
            sock = _race(interleave(candidates, lambda candidate: candidate.family), options, until)
        phase = Phase.HANDSHAKE
        if options.proxy is not None:
            options.proxy.announce(sock, target)
        plan = plan_for(
            sock,
            target,
            chosen,
            timeouts=timeouts,
            limits=limits or Limits(),
            total=total,
            name=name,
            wire=wire,
            layer=None if handshake is None else handshake.layer,
            ready_by=None if until is None else Deadline(until, until - began_at),
        )
        connection = blocking().connect(sock, plan)
        if handshake is not None:
            handshake.check()
        return connection
    except TlsError as error:
        raise no_tls(target, error) from error
    except TimeoutError:
        raise connect_timed_out(target, timeouts, phase) from None
    except NoneAnsweredError as error:
        raise none_answered(target, error.failures) from most_telling(error.failures)
    except socket.gaierror as error:
        raise not_resolved(target, error) from error
    except OSError as error:
        raise ConnectError.from_os_error(str(target), error) from error


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
                    if number != errno.EINPROGRESS:
                        _check_connected(sock, number)
                        return _winner(sock)
                except OSError as error:
                    failures.append((candidate, error))
                    continue
                selector.register(sock, selectors.EVENT_WRITE, candidate)
            wake_at = earlier(next_at if waiting else None, until)
            wait_s = None if wake_at is None else min(max(0.0, wake_at - time.monotonic()), MAX_WAIT_S)
            for key, _ in selector.select(wait_s):
                assert isinstance(key.fileobj, socket.socket)
                try:
                    _check_connected(key.fileobj, key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
                    return _winner(key.fileobj)
                except OSError as error:
                    selector.unregister(key.fileobj)
                    failures.append((key.data, error))
                    next_at = time.monotonic()  # the next one's turn
    raise NoneAnsweredError(failures)


def _unix_socket(candidate: Candidate, options: SocketOptions, until: float | None) -> socket.socket:
    """Connect to a Unix socket.

    Raises:
        OSError: What connect(2) said.
        TimeoutError: Its backlog was full all the time.
    """
    sock = open_socket(candidate, options)
    try:
        sock.setblocking(False)
        while not connected_to_unix(sock, candidate):
            if until is not None and time.monotonic() >= until:
                raise TimeoutError
            time.sleep(UNIX_RETRY_S)
    except BaseException:
        sock.close()
        raise
    return sock


def _check_connected(sock: socket.socket, number: int) -> None:
    """Raise what connecting came to, if that is not a connection to somebody: OSError."""
    if number:
        raise OSError(number, os.strerror(number))
    refuse_itself(sock)


def _winner(sock: socket.socket) -> socket.socket:
    """Take the socket from its object, which is closed with those of the losers."""
    family, kind = sock.family, sock.type
    return socket.socket(family, kind, fileno=sock.detach())
