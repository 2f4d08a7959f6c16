"""From the gate's options to its rules: what the machine allows, and what the files of networks say."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from ..address.networks import AccessList, check_entry
from ..config import AUTO, Action, GateConfig, ServerConfig
from ..core.gate import Gate
from ..core.rules import Rules
from ..engines.aside import aside
from ..errors import ConfigurationError, LimitError
from ..reasons import Refusal
from .bind_errors import in_plain_words

logger = logging.getLogger("penstock")

DEFAULT_MAX_CONNECTIONS: Final = 10_000
# A quarter: no single address can take the whole server, and four together can still take all of it.
DEFAULT_PEER_SHARE: Final = 4
# A tenth: peers that connect and never show who they are take no more from those who do.
DEFAULT_HANDSHAKE_SHARE: Final = 10
# A tenth: what is left of peers that have gone takes no more from those who are there.
DEFAULT_ORPHAN_SHARE: Final = 10
# One whose handler is stuck does not keep a small server from its next peer.
LEAST_ORPHANS: Final = 8

# Kept for what is no connection: listeners, the loop, logs, files the handlers open. Where there are few descriptors at
# all, a quarter of them.
RESERVED_DESCRIPTORS: Final = 64

FOLLOW_S: Final = 1.0
MAX_FILE_BYTES: Final = 16 * 1024**2


def affordable(descriptors: int, each: int = 1) -> int:
    """Return how many connections a process may hold that may have so many descriptors: nine tenths of what is left.

    Args:
        descriptors: How many the process may have open.
        each: How many a connection has open.
    """
    reserved = min(RESERVED_DESCRIPTORS, descriptors // 4)
    return max(1, (descriptors - reserved) * 9 // 10 // each)


def descriptors_for(connections: int, each: int = 1) -> int:
    """Return how many descriptors are needed for so many connections; the inverse of `affordable`."""
    return connections * each * 10 // 9 + 1 + RESERVED_DESCRIPTORS


def rules_of(
    config: ServerConfig, access: AccessList, descriptors: int | None, each: int = 1, places: int | None = None
) -> Rules:
    """Work out what a server's gate goes by; log what was lowered.

    Args:
        config: The server's.
        access: Who may connect at all.
        descriptors: How many the process may have open; None for no limit.
        each: How many a connection has open on the server's engine.
        places: How many connections the engine serves at once, while the others wait; None for any number.
    """
    gate = config.gate
    limit = _max_connections(gate, descriptors, each)
    if places is not None and _reserve(gate):
        limit = _beside_reserve(gate, limit, places)
    actions = gate.actions
    if config.once or config.model == "one-at-a-time":
        limit = 1
        actions[Refusal.LIMIT] = Action.WAIT
    per_peer, handshakes, orphans = gate.max_per_peer, gate.max_handshakes, gate.max_orphans
    # A share of what can be had: of connections that hold a thread each there are no more than threads.
    shared = min((most for most in (limit, places) if most is not None), default=None)
    if per_peer == AUTO:
        per_peer = None if shared is None else max(1, shared // DEFAULT_PEER_SHARE)
    if handshakes == AUTO:
        handshakes = None if shared is None else max(1, shared // DEFAULT_HANDSHAKE_SHARE)
    if orphans == AUTO:
        orphans = None if shared is None else max(LEAST_ORPHANS, shared // DEFAULT_ORPHAN_SHARE)
    text = gate.refusal_text
    return Rules(
        max_connections=limit,
        max_per_peer=per_peer,
        max_handshakes=handshakes,
        max_orphans=orphans,
        loopback_counts=gate.max_per_peer != AUTO,
        ipv4_prefix=gate.peer_prefix_ipv4,
        ipv6_prefix=gate.peer_prefix_ipv6,
        accept_rate=gate.accept_rate,
        accept_rate_per_peer=gate.accept_rate_per_peer,
        datagram_rate_per_peer=config.overload.datagram_rate_per_peer,
        datagram_amplification=config.overload.datagram_amplification,
        access=access,
        reserve=_reserve(gate),
        reserve_for=AccessList(gate.reserve_for),
        actions=actions,
        text=f"{text}\n".encode() if text else b"",
    )


def _reserve(config: GateConfig) -> int:
    return config.reserve if config.reserve_for else 0


def _max_connections(config: GateConfig, descriptors: int | None, each: int) -> int | None:
    wanted = config.max_connections
    kept = _reserve(config) * each  # no part of what everybody shares
    room = None if descriptors is None else affordable(descriptors - kept, each)
    if wanted == AUTO:
        return DEFAULT_MAX_CONNECTIONS if room is None else min(DEFAULT_MAX_CONNECTIONS, room)
    if wanted is not None and room is not None and wanted > room:
        logger.warning(
            "max_connections lowered from %d to %d: the process is limited to %d descriptors; "
            "raise that with ulimit -n %d or LimitNOFILE= in its systemd unit",
            wanted,
            room,
            descriptors,
            descriptors_for(wanted, each) + kept,
        )
        return room
    return wanted


def _beside_reserve(config: GateConfig, limit: int | None, places: int) -> int:
    """Return how many connections leave the reserve its places: who waits for one stands before it in the backlog."""
    room = max(1, places - _reserve(config))
    if limit is not None and limit <= room:
        return limit
    if config.max_connections not in (AUTO, None):
        logger.warning(
            "max_connections lowered from %d to %d: each connection takes one of %d threads, %d are reserved",
            limit,
            room,
            places,
            _reserve(config),
        )
    return room


def descriptor_limit() -> int | None:
    """Return how many descriptors this process may have open; None where there is no limit.

    Raises:
        LimitError: The system does not say.
    """
    try:
        import resource  # noqa: PLC0415 - not on Windows
    except ImportError:
        return None
    try:
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    except OSError as error:
        raise LimitError(f"cannot read the descriptor limit: {in_plain_words(error)}; allow prlimit64(2)") from error
    return None if soft == resource.RLIM_INFINITY else soft


def raise_descriptor_limit(*needs: tuple[GateConfig, int]) -> None:
    """Raise the soft limit of descriptors as far as the configuration needs it and the hard limit lets it.

    For a process that is a server and nothing else: a program that uses select(2) may count on descriptors under 1024.

    Args:
        needs: For each server of the process its gate's configuration, and how many descriptors a connection has open.
    """
    limit = descriptor_limit()
    if limit is None:
        return
    import resource  # noqa: PLC0415 - not on Windows

    wanted = sum(_descriptors(config, each) for config, each in needs)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if wanted > limit:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError) as error:  # there are fewer connections then
            logger.warning("the descriptor limit stays at %d: cannot raise it to %d: %s", limit, wanted, error)


def _descriptors(config: GateConfig, each: int) -> int:
    connections = config.max_connections
    if connections is None or connections == AUTO:
        connections = DEFAULT_MAX_CONNECTIONS
    return descriptors_for(connections, each) + _reserve(config) * each


# -- files of networks -------------------------------------------------------------------------------------------------

_Signature = tuple[int, int, int, int] | None


@dataclass(frozen=True, slots=True)
class AccessFiles:
    """``--allow`` and ``--deny``, with the files they name: ``@deny.txt`` has an entry per line, ``#`` begins a remark.

    Attributes:
        allow: As configured.
        deny: As configured.
    """

    allow: Sequence[str]
    deny: Sequence[str]

    @property
    def paths(self) -> list[str]:
        """The files, each as it is named."""
        return [entry[1:] for entry in (*self.allow, *self.deny) if entry.startswith("@")]

    def load(self) -> AccessList:
        """Read every file.

        Raises:
            ConfigurationError: One cannot be read, or a line of it is no entry; ``where`` is ``file:line``.
        """
        return AccessList(_expanded(self.allow), _expanded(self.deny))

    def signature(self) -> list[_Signature]:
        """Return what changes when a file does."""
        return [_signature(path) for path in self.paths]

    async def follow(self, gate: Gate, before: list[_Signature]) -> None:
        """Give the gate a new list whenever a file has changed. What cannot be read changes nothing, and is logged.

        Args:
            gate: Goes by what was read so far.
            before: The signature from before that.
        """
        while True:
            await asyncio.sleep(FOLLOW_S)
            try:
                # All of it: on a mount that does not answer, to ask when a file was changed hangs as well.
                now, access, problem = await aside(functools.partial(self._look, before), "penstock-networks")
                if problem is not None:
                    logger.error("networks unchanged: %s", problem)
                elif access is not None:
                    gate.set(access=access)
                    logger.info("networks reloaded: %s", ", ".join(self.paths))
                before = now
            except (MemoryError, RuntimeError):  # the second of a system that gives no thread
                pass  # what is not done yet is tried again at the next look

    def _look(self, before: list[_Signature]) -> tuple[list[_Signature], AccessList | None, ConfigurationError | None]:
        """Return the signature, and what the files say if it has changed, or why they cannot be read."""
        now = self.signature()
        if now == before:
            return before, None, None
        try:
            return now, self.load(), None
        except ConfigurationError as error:
            return now, None, error


def _expanded(entries: Sequence[str]) -> Iterator[str]:
    for entry in entries:
        if entry.startswith("@"):
            yield from _entries(entry[1:])
        else:
            yield entry


def _entries(path: str) -> Iterator[str]:
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"cannot be read: {error.strerror}", path) from None
    if len(data) > MAX_FILE_BYTES:
        raise ConfigurationError(f"is longer than {MAX_FILE_BYTES} bytes", path)
    for number, line in enumerate(data.decode("utf-8", "replace").removeprefix("\ufeff").splitlines(), 1):
        entry = line.partition("#")[0].strip()
        if entry:
            try:
                check_entry(entry)
            except ConfigurationError as error:
                raise ConfigurationError(error.problem, f"{path}:{number}") from None
            yield entry


def _signature(path: str) -> _Signature:
    try:
        found = os.stat(path)
    except OSError:
        return None
    # The last of these cannot be set back, and it moves with the rights, too.
    return found.st_mtime_ns, found.st_size, found.st_ino, found.st_ctime_ns
