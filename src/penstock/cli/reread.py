"""The configuration of ``penstock serve`` read again while it serves."""

import logging
import os
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import click

from ..config.rendering import setting_text
from ..engines.aside import aside
from ..telemetry import Log
from .plan import Plan, settle

if TYPE_CHECKING:
    from ..server import Server

_logger: Final = logging.getLogger("penstock")


class Reread:
    """Reads every source of values again, and has what may change do so.

    Args:
        ctx: The command line.
        plan: What was made of it at the start.
        log: Whose level may change.
    """

    def __init__(self, ctx: click.Context, plan: Plan, log: Log) -> None:
        self._ctx = ctx
        self._log = log
        self._settings = plan.settings

    async def __call__(self, server: "Server") -> None:
        """Do it, and say in the log what has changed, and what will at the next start.

        Raises:
            ConfigurationError: Something is wrong with it. Nothing has changed.
        """
        # In a thread: a file may lie on a mount that does not answer.
        settings, _ = await aside(lambda: settle(self._ctx, os.environ), "penstock-configuration")
        config = settings.server_config()
        from ..server.admission import raise_descriptor_limit

        raise_descriptor_limit(config.gate, server.choice.engine.descriptors_per_connection)
        changed = await server.reload(replace(config, codec=None))  # it is the service's own by now
        before, self._settings = self._settings, settings
        later = [
            name
            for name, setting in settings.by_name.items()
            if setting.value != before.by_name[name].value and name not in changed
        ]
        _logger.info("configuration reloaded: %s", self._listed(changed) or "nothing has changed")
        if later:
            _logger.warning("these changes wait for the next start: %s", self._listed(later))
        if "log_level" in changed:
            self._log.set_level(config.log_level)

    def _listed(self, names: Iterable[str]) -> str:
        return ", ".join(map(setting_text, map(self._settings.by_name.__getitem__, names)))
