"""Files of certificates, which are read again when they have changed: what renews them need not tell the server."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from ..config import TlsConfig
from ..engines.aside import aside
from ..errors import ConfigurationError
from .access_files import Signature, signature_of
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
    tls: ServerTls, exchange: Callable[[Material], object], remind: Callable[[str], object], before: list[Signature]
) -> None:
    """Have certificates exchanged whenever their files have changed. What is wrong changes nothing, and is logged.

    Args:
        tls: Says which files, and has what was read so far.
        exchange: Shows other certificates from now on.
        remind: Told once a day of each certificate that is about to expire.
        before: The signatures from before the files were read.
    """
    settled = before
    reminded_at = time.monotonic()
    while True:
        await asyncio.sleep(FOLLOW_S)
        try:
            config = tls.material.config
            now = await aside(lambda config=config: signatures(config), "penstock-certificates")  # type: ignore[misc]
            if now != before and now == settled:
                before = now
                try:
                    material = await aside(lambda config=config: Material(config), "penstock-certificates")  # type: ignore[misc]
                except ConfigurationError as error:
                    logger.error("the certificates stay as they are: %s", error)
                else:
                    exchange(material)
            settled = now
        except (MemoryError, RuntimeError):  # the second of a system that gives no thread
            pass  # what is not done yet is tried again at the next look
        if time.monotonic() - reminded_at >= REMIND_S:
            reminded_at = time.monotonic()
            for warning in tls.material.of_time(time.time()):
                remind(warning)
