"""Making a connection, of any kind, in the running loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar, overload

from ..address import Address, Kind, Scheme, parse_address
from ..codecs.base import Codec
from ..codecs.names import BytesCodecName, TextCodecName
from ..codecs.registry import parse_codec
from ..config import Limits
from ..core.contract import Clock, Connection
from ..core.deadline import Deadline
from ..engines.registry import of_loop
from ..errors import ConfigurationError, ConnectError, Phase, TlsError
from .clocks import TimeoutAt, earlier
from .eyeballs import NoneAnsweredError, interleave, race
from .failures import connect_timed_out, errno_name, most_telling, no_tls, none_answered, not_resolved
from .icmp import icmp_socket
from .network import SYSTEM, Candidate, Network, kind_of, only_reachable
from .options import ClientTimeouts, SocketOptions
from .plan import plan_for
from .tls import ClientTls, Handshake, handshake_for
from .waiting import take_turn

M = TypeVar("M")

DEFAULT_TIMEOUTS: Final = ClientTimeouts()
DEFAULT_OPTIONS: Final = SocketOptions()
DEFAULT_TLS: Final = ClientTls()


@dataclass(slots=True)
class Progress:
    """How far an attempt has come, and when: instants on its clock.

    Attributes:
        phase: What is being done.
        began_at: When it began.
        resolved_at: When the addresses were known; None before.
        connected_at: When one of them had answered; None before.
        secured_at: When the TLS handshake was done; None before, and where there is none.
    """

    began_at: float
    phase: Phase = Phase.RESOLVE
    resolved_at: float | None = None
    connected_at: float | None = None
    secured_at: float | None = None


@dataclass(frozen=True, slots=True)
class ConnectResult:
    """What came of `try_connect`.

    Attributes:
        address: What was connected to.
        connection: The connection, which is yours to close; None when there is none.
        error: What `connect` would have raised; None when there is a connection.
        phase: The phase it failed in; None when there is a connection.
        errno: 0 when connected; the system's error number, negative for ``socket.EAI_…``; None where there is none.
        errno_name: ``OK``, ``ECONNREFUSED``, ``EAI_NONAME``, …
        resolve_s: Seconds until the addresses were known, or until that failed.
        connect_s: Seconds from there until one had answered, or until that failed; None if it did not come so far.
        handshake_s: Seconds from there until the TLS handshake was done; None if it was not, or there is none.
    """

    address: str
    connection: Connection[Any] | None
    error: ConnectError | None
    phase: Phase | None
    errno: int | None
    errno_name: str
    resolve_s: float
    connect_s: float | None
    handshake_s: float | None = None


@overload
async def connect(
    address: str | Address,
    *,
    codec: Codec[M],
    timeouts: ClientTimeouts = ...,
    options: SocketOptions = ...,
    tls: ClientTls = ...,
    limits: Limits | None = ...,
    clock: Clock | None = ...,
    network: Network = ...,
) -> Connection[M]: ...
@overload
async def connect(
    address: str | Address,
    *,
    codec: BytesCodecName = ...,
    timeouts: ClientTimeouts = ...,
    options: SocketOptions = ...,
    tls: ClientTls = ...,
    limits: Limits | None = ...,
    clock: Clock | None = ...,
    network: Network = ...,
) -> Connection[bytes]: ...
@overload
async def connect(
    address: str | Address,
    *,
    codec: TextCodecName,
    timeouts: ClientTimeouts = ...,
    options: SocketOptions = ...,
    tls: ClientTls = ...,
    limits: Limits | None = ...,
    clock: Clock | None = ...,
    network: Network = ...,
) -> Connection[str]: ...
@overload
async def connect(
    address: str | Address,
    *,
    codec: str,
    timeouts: ClientTimeouts = ...,
    options: SocketOptions = ...,
    tls: ClientTls = ...,
    limits: Limits | None = ...,
    clock: Clock | None = ...,
    network: Network = ...,
) -> Connection[Any]: ...


async def connect(
    address: str | Address,
    *,
    codec: Codec[Any] | str = "lines",
    timeouts: ClientTimeouts = DEFAULT_TIMEOUTS,
    options: SocketOptions = DEFAULT_OPTIONS,
    tls: ClientTls = DEFAULT_TLS,
    limits: Limits | None = None,
    clock: Clock | None = None,
    network: Network = SYSTEM,
) -> Connection[Any]:
    """Connect; return once the connection can be used.

    ``async with await connect("tcp://127.0.0.1:9000", codec="lines") as conn:`` closes it at the end of the block.

    A name is resolved off the loop. Its addresses are tried as RFC 8305 says (happy eyeballs): families in turn, each
    attempt 250 ms after the one before it or as soon as that has failed, and the first to answer wins.

    Args:
        address: ``tcp://``, ``tls://``, ``udp://``, ``unix:``, ``unix+dgram:``, ``unix+seqpacket:`` or ``raw+icmp://``.
        codec: A codec, or its name and options.
        timeouts: How long to wait, for what.
        options: Of the socket.
        tls: What to trust, where TLS is spoken.
        limits: Of its buffers.
        clock: Where time comes from; None for the loop's own.
        network: Resolves and connects; the system's by default.

    Raises:
        ConnectError: Refused, unreachable, not resolvable, no agreement in the TLS handshake: ``errno`` and ``phase``
            say which; the cause is then a `TlsError`.
        ConnectTimeoutError: Not within ``timeouts.connect_s`` or ``timeouts.total_s``. Nothing is left open.
        ConfigurationError: The address, the codec or an option is wrong, or cannot be connected to.

    Cancelling it leaves nothing open.
    """
    await take_turn()
    target, chosen = read_target(address, codec)
    clock = clock or asyncio.get_running_loop()
    progress = Progress(clock.time())
    attempt = _Attempt(target, chosen, timeouts, options, tls, limits or Limits(), clock, network, progress)
    return await attempt.run()


async def try_connect(
    address: str | Address,
    *,
    codec: Codec[Any] | str = "lines",
    timeouts: ClientTimeouts = DEFAULT_TIMEOUTS,
    options: SocketOptions = DEFAULT_OPTIONS,
    tls: ClientTls = DEFAULT_TLS,
    limits: Limits | None = None,
    clock: Clock | None = None,
    network: Network = SYSTEM,
) -> ConnectResult:
    """Connect as `connect` does, but return what went wrong, and how long things took.

    Raises:
        ConfigurationError: The address, the codec or an option is wrong, or cannot be connected to.
    """
    await take_turn()
    target, chosen = read_target(address, codec)
    clock = clock or asyncio.get_running_loop()
    progress = Progress(clock.time())
    attempt = _Attempt(target, chosen, timeouts, options, tls, limits or Limits(), clock, network, progress)
    connection: Connection[Any] | None = None
    failure: ConnectError | None = None
    try:
        connection = await attempt.run()
    except ConnectError as error:
        failure = error
    ended_at = clock.time()
    resolved_at = progress.resolved_at
    return ConnectResult(
        str(target),
        connection,
        failure,
        failure.phase if failure else None,
        failure.errno if failure else 0,
        errno_name(failure.errno) if failure else "OK",
        (ended_at if resolved_at is None else resolved_at) - progress.began_at,
        None if resolved_at is None else (progress.connected_at or ended_at) - resolved_at,
        None
        if progress.secured_at is None or progress.connected_at is None
        else progress.secured_at - progress.connected_at,
    )


def read_target(address: str | Address, codec: Codec[Any] | str) -> tuple[Address, Codec[Any]]:
    """Read what to connect to and what to speak there.

    Raises:
        ConfigurationError: One of them is wrong, or nothing can connect to it.
    """
    target = parse_address(address) if isinstance(address, str) else address
    if target.scheme is Scheme.TCP_TLS:
        raise ConfigurationError(f"{target}: a server may take both on one port; a client says which: tcp:// or tls://")
    if target.port == 0:
        raise ConfigurationError(
            f"{target}: port 0 means any free port, for servers only; give the port the server listens on"
        )
    return target, parse_codec(codec) if isinstance(codec, str) else codec


@dataclass(slots=True)
class _Attempt:
    """One attempt to connect, from the address to the connection."""

    target: Address
    codec: Codec[Any]
    timeouts: ClientTimeouts
    options: SocketOptions
    tls: ClientTls
    limits: Limits
    clock: Clock
    network: Network
    progress: Progress

    async def run(self) -> Connection[Any]:
        """Connect, in time.

        Raises:
            ConnectError: It failed; nothing is left open.
        """
        target, clock = self.target, self.clock
        total = Deadline.after(self.timeouts.total_s, clock)
        connect_s = self.timeouts.connect_s
        connect_at = None if connect_s is None else self.progress.began_at + connect_s
        handshake = handshake_for(target, self.tls)
        try:
            with TimeoutAt(clock, earlier(connect_at, None if total is None else total.at)):
                return await self._connection(await self._candidates(), total, handshake)
        except TimeoutError as error:
            raise connect_timed_out(target, self.timeouts, self.progress.phase) from error.__cause__
        except TlsError as error:
            raise no_tls(target, error) from error
        except NoneAnsweredError as error:
            raise none_answered(target, error.failures) from most_telling(error.failures)
        except socket.gaierror as error:
            raise not_resolved(target, error) from error
        except OSError as error:
            raise ConnectError.from_os_error(str(target), error) from error

    async def _candidates(self) -> list[Candidate]:
        kind = kind_of(self.target)
        if self.target.is_unix:
            found: Sequence[Candidate] = [Candidate(socket.AF_UNIX, kind, self.target.unix_name)]
        else:
            found = await self.network.resolve(self.target, kind)
        self.progress.resolved_at = self.clock.time()
        self.progress.phase = Phase.CONNECT
        return interleave(only_reachable(found, self.options), lambda candidate: candidate.family)

    async def _first_connected(self, candidates: Sequence[Candidate]) -> socket.socket:
        sock = await race(
            candidates,
            lambda candidate: self.network.dial(candidate, self.options),
            discard=socket.socket.close,
            clock=self.clock,
        )
        self._connected()
        return sock

    def _connected(self) -> None:
        self.progress.connected_at = self.clock.time()
        self.progress.phase = Phase.HANDSHAKE

    async def _connection(
        self, candidates: Sequence[Candidate], total: Deadline | None, handshake: Handshake | None
    ) -> Connection[Any]:
        name = wire = None
        if self.target.kind is Kind.RAW:
            name = candidates[0].sockaddr
            sock, wire = icmp_socket(self.target, candidates[0], self.options)
            self._connected()
        else:
            sock = await self._first_connected(candidates)
            if self.options.proxy is not None:
                self.options.proxy.announce(sock, self.target)
        plan = plan_for(
            sock,
            self.target,
            self.codec,
            timeouts=self.timeouts,
            limits=self.limits,
            total=total,
            clock=self.clock,
            name=name,
            wire=wire,
            layer=None if handshake is None else handshake.layer,
        )
        conn = await of_loop(asyncio.get_running_loop()).connect(sock, plan)
        if handshake is not None:
            try:
                await handshake.wait()
            except BaseException:
                if handshake.error is None:  # else it closes once the peer was told
                    conn.abort()
                raise
            self.progress.secured_at = self.clock.time()
        return conn
