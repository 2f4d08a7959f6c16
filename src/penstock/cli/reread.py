"""The configuration of ``penstock serve`` read again while it serves."""

import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import click

from ..config import ServerConfig
from ..config.rendering import setting_text
from ..config.sources import Settings
from ..engines.aside import aside
from ..telemetry import Log
from .placing import placing
from .plan import AppPlan, Plan, Settled, app_plan, settle

if TYPE_CHECKING:
    from ..app import AppServer
    from ..server import Server

_logger: Final = logging.getLogger("penstock")


class Reread:
    """Reads every source of values again, and has what may change do so.

    Args:
        ctx: The command line.
        plan: What was made of it at the start.
        log: Whose level may change.
    """

    def __init__(self, ctx: click.Context, plan: Plan | AppPlan, log: Log) -> None:
        self._ctx = ctx
        self._log = log
        self._plan = plan
        # A service that is alone has no name here.
        self._settings = plan.by_service if isinstance(plan, AppPlan) else {"": plan.settings}
        # What each service goes by now, which is what was read but for the changes that wait.
        self._running = {
            name: {option: setting.value for option, setting in settings.by_name.items()}
            for name, settings in self._settings.items()
        }

    async def __call__(self, server: "Server") -> str:
        """Do it, and say in the log what has changed, and what will at the next start. Return what it says.

        Raises:
            ConfigurationError: Something is wrong with it. Nothing has changed.
        """
        settled = await self._settled()
        config = settled.settings.server_config()
        # The codec is the service's own by now.
        return await self._reload({"": server}, {"": settled.settings}, {"": replace(config, codec=None)})

    async def app(self, server: "AppServer") -> str:
        """Do it for each service of an application.

        Raises:
            ConfigurationError: Something is wrong with it. Nothing has changed, as far as it shows when it is read.
        """
        plan = app_plan(self._ctx, server.app, await self._settled(), serves=False)
        return await self._reload(server.servers, plan.by_service, plan.configs)

    async def _settled(self) -> Settled:
        # In a thread: a file may lie on a mount that does not answer.
        return await aside(lambda: settle(self._ctx, os.environ), "penstock-configuration")

    async def _reload(
        self, servers: "Mapping[str, Server]", settings: Mapping[str, Settings], configs: Mapping[str, ServerConfig]
    ) -> str:
        from ..server.descriptors import raise_descriptor_limit

        each = [server.choice.engine.descriptors_per_connection for server in servers.values()]
        raise_descriptor_limit(*zip((configs[name].gate for name in servers), each, strict=True))
        changed = {}
        for name, server in servers.items():
            with placing([settings[name]]):
                changed[name] = await server.reload(configs[name])
        self._settings = settings
        later = {name: self._note(name, settings[name], changed[name]) for name in servers}
        level = next(iter(configs.values())).log_level
        if any("log_level" in names for names in changed.values()):
            self._log.set_level(level)
        text = self._listed(changed) or "nothing has changed"
        _logger.info("configuration reloaded: %s", text)
        if any(later.values()):
            waiting = f"these changes wait for the next start: {self._listed(later)}"
            _logger.warning(waiting)
            text += f"; {waiting}"
        return text

    def _note(self, service: str, settings: Settings, changed: Iterable[str]) -> list[str]:
        """Take in what has changed; return what is otherwise than it was read, and waits for the next start."""
        running = self._running[service]
        read = {option: setting.value for option, setting in settings.by_name.items()}
        running.update({option: read[option] for option in changed if option in read})
        return [option for option, value in read.items() if value != running.get(option)]

    def _listed(self, names: Mapping[str, Iterable[str]]) -> str:
        return ", ".join(
            f"{service}: {setting_text(self._settings[service].by_name[name])}"
            if service
            else setting_text(self._settings[service].by_name[name])
            for service, options in names.items()
            for name in options
        )
