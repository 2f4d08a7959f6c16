"""What was set while a server works, for workers that come later."""

from __future__ import annotations

from collections.abc import Mapping

ByService = Mapping[str, Mapping[str, str]]


class Kept:
    """Values that hold until the configuration says something else than it did when they were set."""

    def __init__(self) -> None:
        # By service and name: the value, and what the configuration said then.
        self._values: dict[tuple[str, str], tuple[str, str]] = {}

    def keep(self, texts: Mapping[str, str], now: ByService) -> None:
        """Keep ``texts`` for each service of ``now``, which is what held before."""
        for service, held in now.items():
            for name, text in texts.items():
                _, configured = self._values.get((service, name), ("", held[name]))
                self._values[service, name] = text, configured

    def of(self, configured: ByService) -> ByService:
        """Return what a worker goes by beside its configuration; what that has changed is forgotten."""
        for (service, name), (_, before) in list(self._values.items()):
            if configured.get(service, {}).get(name) != before:
                del self._values[service, name]
        found: dict[str, dict[str, str]] = {}
        for (service, name), (text, _) in self._values.items():
            found.setdefault(service, {})[name] = text
        return found
