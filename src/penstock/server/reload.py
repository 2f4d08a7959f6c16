"""What of a configuration may change while the server serves, and SIGHUP, which asks for it."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from ..config import GateConfig, ServerConfig
from ..errors import ConfigurationError

if TYPE_CHECKING:
    from .notify import Notifier

L = TypeVar("L")

_logger: Final = logging.getLogger("penstock")

# Open connections are counted by these, from the start to the end.
_FIXED: Final = ("peer_prefix_ipv4", "peer_prefix_ipv6", "reserve_for", "proxy_from")
_GATE: Final = tuple(spec.name for spec in dataclasses.fields(GateConfig) if spec.name not in _FIXED)
_OVERLOAD: Final = ("datagram_rate_per_peer", "datagram_amplification")


def with_live(config: ServerConfig, wanted: ServerConfig) -> ServerConfig:
    """Return ``config`` with those values of ``wanted`` that may change while it is served.

    Who is let in and how many, how often datagrams are handled, how long a drain may take, the level of the log; all of
    TLS, as long as there is some.

    Raises:
        ConfigurationError: Values contradict each other.
    """
    return dataclasses.replace(
        config,
        gate=dataclasses.replace(config.gate, **{name: getattr(wanted.gate, name) for name in _GATE}),
        overload=dataclasses.replace(config.overload, **{name: getattr(wanted.overload, name) for name in _OVERLOAD}),
        timeouts=dataclasses.replace(
            config.timeouts, drain_s=wanted.timeouts.drain_s, drain_spread_s=wanted.timeouts.drain_spread_s
        ),
        log_level=wanted.log_level,
        tls=wanted.tls if config.tls.cert and wanted.tls.cert else config.tls,
    )


class Reloader(Generic[L]):
    """Reads a configuration again when it is told to; one at a time, and once more for what is asked meanwhile.

    Args:
        server: Whose configuration.
        reload: Reads it and gives it to the server. What it returns says what has changed.
        notifier: Told when it begins and when it is over; None where no service manager wants to know.
    """

    def __init__(self, server: L, reload: Callable[[L], Awaitable[str | None]], notifier: Notifier | None) -> None:
        self._server = server
        self._reload = reload
        self._notifier = notifier
        self._task: asyncio.Task[None] | None = None
        self._again = False
        self._is_ready = False
        self._outcome: str | Exception = ""

    def ready(self) -> None:
        """The server serves: what was asked for before is done now."""
        self._is_ready = True
        if self._again:
            self.begin()

    def begin(self) -> None:
        """Begin, on the running loop; once the server serves."""
        self._again = True
        if not self._is_ready:
            return
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def done(self) -> str:
        """Begin, and wait until it is over. Return what has changed, in words.

        Raises:
            ConfigurationError: The configuration is refused, and stays as it is; or the server does not serve yet.
            Exception: Whatever else reading it raised.
        """
        if not self._is_ready:
            raise ConfigurationError("the server does not serve yet")
        self.begin()
        assert self._task is not None
        await asyncio.shield(self._task)
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome

    async def _run(self) -> None:
        while self._again:
            self._again = False
            if self._notifier is not None:
                self._notifier.reloading()
            try:
                self._outcome = await self._reload(self._server) or "nothing has changed"
            except ConfigurationError as error:
                self._outcome = error
                _logger.error("the configuration stays as it is: %s", "; ".join(str(error).splitlines()))
            except Exception as error:
                self._outcome = error
                _logger.exception("the configuration stays as it is")
            if self._notifier is not None:
                self._notifier.reloaded()
