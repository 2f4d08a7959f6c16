"""The configuration: frozen, checked dataclasses, and the one description from which every source of them is read."""

from .kinds import Bind, Choice, Duration, Flag, Integer, Kind, Mode, Repeated, Size, Text
from .options import (
    DEFAULT_THREADS,
    EngineName,
    Limits,
    LogFormat,
    LogLevel,
    Model,
    Option,
    ServerConfig,
    Timeouts,
    build,
    options,
)
from .suggest import did_you_mean, nearest

__all__ = [
    "DEFAULT_THREADS",
    "Bind",
    "Choice",
    "Duration",
    "EngineName",
    "Flag",
    "Integer",
    "Kind",
    "Limits",
    "LogFormat",
    "LogLevel",
    "Mode",
    "Model",
    "Option",
    "Repeated",
    "ServerConfig",
    "Size",
    "Text",
    "Timeouts",
    "build",
    "did_you_mean",
    "nearest",
    "options",
]
