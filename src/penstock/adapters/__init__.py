"""Handlers that were written for something else, served unchanged: `service_of` makes a service of each."""

from .kinds import COMMANDS, KINDS, WORDS, Kind, is_foreign, service_of

__all__ = ["COMMANDS", "KINDS", "WORDS", "Kind", "is_foreign", "service_of"]
