"""Why no connection could be made, in words and in numbers."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Sequence
from typing import Final

from ..address import Address
from ..errors import ConnectError, ConnectTimeoutError, Phase, TlsError
from .network import Candidate
from .options import ClientTimeouts

# Which failure says most about why none of several addresses answered, where the attempts failed differently.
_TELLING: Final = (errno.ECONNREFUSED, errno.ECONNRESET, errno.EACCES, errno.EPERM, errno.ETIMEDOUT, errno.EHOSTUNREACH)


def errno_name(number: int | None) -> str:
    """Return the symbol of an error number, ``ECONNREFUSED``, or of a negative one of ``socket.EAI_…``."""
    if number is None:
        return "ERROR"
    if number < 0:
        names = {getattr(socket, name): name for name in dir(socket) if name.startswith("EAI_")}
        return names.get(number, f"EAI{number}")
    return errno.errorcode.get(number, f"E{number}")


def connect_timed_out(target: Address, timeouts: ClientTimeouts, phase: Phase) -> ConnectTimeoutError:
    """Say that time ran out, and in which phase."""
    given = [timeout for timeout in (timeouts.connect_s, timeouts.total_s) if timeout is not None]
    what = "not resolved" if phase is Phase.RESOLVE else "no answer"
    problem = f"{what} within {min(given):g} s" if given else "the system gave up waiting"
    return ConnectTimeoutError(str(target), problem, errno.ETIMEDOUT, phase)


def not_resolved(target: Address, error: socket.gaierror) -> ConnectError:
    """Say that a name has no address, or that nobody could be asked."""
    problem = f"{target.host} cannot be resolved: {(error.strerror or str(error)).lower()}"
    return ConnectError(str(target), problem, error.errno, Phase.RESOLVE)


def no_tls(target: Address, error: TlsError) -> ConnectError:
    """Say why there was no TLS handshake."""
    return ConnectError(str(target), error.problem, None, Phase.HANDSHAKE)


def most_telling(failures: Sequence[tuple[Candidate, OSError]]) -> OSError:
    """Choose the failure that says most: that somebody refused says more than that one family has no route."""
    ranks = {number: rank for rank, number in enumerate(_TELLING)}
    return min((error for _, error in failures), key=lambda error: ranks.get(error.errno or 0, len(ranks)))


def none_answered(target: Address, failures: Sequence[tuple[Candidate, OSError]]) -> ConnectError:
    """Say why none of the addresses answered: once, if for one reason, else each with its own."""
    error = most_telling(failures)
    if len({failure.errno for _, failure in failures}) == 1:
        said = ConnectError.from_os_error(str(target), error)
        if tried := tried_of(target, [str(candidate) for candidate, _ in failures]):
            said = ConnectError(said.address, f"{said.problem}{tried}", said.errno)
    else:
        each = "; ".join(f"{candidate} {_words(failure)}" for candidate, failure in failures)
        said = ConnectError(str(target), each, error.errno)
    kind = ConnectTimeoutError if error.errno == errno.ETIMEDOUT else ConnectError
    return kind(said.address, said.problem, said.errno)


def tried_of(target: Address, tried: Sequence[str]) -> str:
    """Say which addresses a name stood for, in brackets; nothing where the target says it itself."""
    return "" if target.is_unix or str(target).endswith(f"//{tried[0]}") else f" ({', '.join(tried)})"


def _words(error: OSError) -> str:
    return os.strerror(error.errno).lower() if error.errno else str(error)
