"""Handlers that were written for something else, served unchanged: `service_of` makes a service of each."""

from .kinds import COMMANDS, KINDS, WORDS, Kind, is_foreign, service_of
from .twisted_import import install as install_reactor
from .twisted_import import on_import

__all__ = ["COMMANDS", "KINDS", "WORDS", "Kind", "install_reactor", "is_foreign", "on_import", "service_of"]
