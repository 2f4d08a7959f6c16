"""Files of certificates, which are read again when they have changed: what renews them need not tell the server."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from ..config import TlsConfig
from ..engines.aside import aside
from ..errors import ConfigurationError
from .access_files import Signature, signature_of
from .repeated import pause
from .tls import Material, ServerTls

logger = logging.getLogger("penstock")

# Between two looks. Files are read once two of them in a row are alike: of a certificate and its key one is new first.
FOLLOW_S: Final = 1.0
# Between two warnings of a certificate that is about to expire.
REMIND_S: Final = 86400.0


def signatures(config: TlsConfig) -> list[Signature]:
    """Return what changes when one of the files does."""
    named = (*config.cert, *config.key, config.client_ca, config.crl)
    return [signature_of(path) for path in named if path is not None]


async def follow(
    tls: ServerTls,
    exchange: Callable[[Material], Awaitable[object]],
    warn: Callable[[str], object],
    before: list[Signature],
) -> None:
    """Have certificates exchanged whenever their files have changed. What is wrong changes nothing, and is logged.

    Until they are exchanged that is tried again at each look, for what kept them from it may pass without a change of
    the files: no descriptor was free, or the processes of connections could not read what was read here.

    Args:
        tls: Says which files, and has what was read so far.
        exchange: Shows other certificates from now on.
        warn: Told of what is wrong with the new ones, and once a day of each that is about to expire.
        before: The signatures from before the files were read.
    """
    settled = before
    logged: tuple[list[Signature], str] | None = None  # of these files, this; else it would be logged at each look
    reminded_at = time.monotonic()
    while True:
        await pause(FOLLOW_S)
        now = settled
        try:
            config = tls.material.config
            now = await aside(lambda config=config: signatures(config), "penstock-certificates")  # type: ignore[misc]
            if now != before and now == settled:
                await exchange(await aside(lambda config=config: Material(config), "penstock-certificates"))  # type: ignore[misc]
                before = now  # last: what has failed is tried again
                _tell(warn, tls.material.warnings(time.time()))
        except (MemoryError, RuntimeError):  # the second of a system that gives no thread
            pass  # what is not done yet is tried again at the next look
        except Exception as error:  # of a file, of an observer, of whatever: certificates are followed all the same
            if logged != (now, str(error)):
                logged = now, str(error)
                trace = None if isinstance(error, ConfigurationError) else error
                logger.error("the certificates stay as they are: %s", error, exc_info=trace)
        settled = now
        if time.monotonic() - reminded_at >= REMIND_S:
            reminded_at = time.monotonic()
            _tell(warn, tls.material.of_time(time.time()))


def _tell(warn: Callable[[str], object], warnings: Iterable[str]) -> None:
    """Have a user's function take warnings; what it raises ends nothing."""
    for warning in warnings:
        try:
            warn(warning)
        except Exception:
            logger.exception("what takes warnings has failed")
