"""What other packages bring: services and codecs, by name, from the entry points of their metadata.

A package says so in its ``pyproject.toml``, under ``[project.entry-points."penstock.codecs"]``:
``gt06 = "fleet.codec:GT06"``. Nothing is imported to list them.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Literal

from .errors import ConfigurationError

Group = Literal["services", "codecs"]


@dataclass(frozen=True, slots=True)
class Installed:
    """One thing that a package brings.

    Attributes:
        name: What it is called.
        place: Where it is: ``module:object``.
        package: The name and version of the package.
    """

    name: str
    place: str
    package: str

    def load(self) -> object:
        """Import it.

        Raises:
            ConfigurationError: That fails, or the module does not hold it.
        """
        module, _, attribute = self.place.partition(":")
        try:
            found: object = importlib.import_module(module)
            for part in attribute.split(".") if attribute else ():
                found = getattr(found, part)
        except (Exception, SystemExit) as error:  # a module that exits when it is imported is one that fails
            raise ConfigurationError(
                f"{self.name} of the package {self.package}: cannot load {self.place}: {type(error).__name__}: {error}"
            ) from error
        return found


def installed(group: Group) -> list[Installed]:
    """Return what installed packages bring, sorted by name; a name that two of them bring stands twice."""
    from importlib.metadata import entry_points  # noqa: PLC0415  # 20 ms, for what few ask

    found = {
        Installed(entry.name, entry.value.partition("[")[0].replace(" ", ""), f"{entry.dist.name} {entry.dist.version}")
        for entry in entry_points(group=f"penstock.{group}")
        if entry.dist is not None
    }
    return sorted(found, key=lambda each: (each.name, each.package))


def find_installed(group: Group, name: str) -> Installed | None:
    """Return the one of that name, or None.

    Raises:
        ConfigurationError: Several packages bring one.
    """
    found = [each for each in installed(group) if each.name == name]
    if len(found) > 1:
        packages = " and ".join(each.package for each in found)
        raise ConfigurationError(f"{packages} both bring {name!r} in penstock.{group}: write module:object instead")
    return found[0] if found else None
