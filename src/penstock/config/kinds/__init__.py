"""What the value of an option may be: one kind serves the command line, the environment, TOML, code and the docs."""

from .base import Kind, quote
from .compound import AUTO, Auto, Repeated, Unless
from .quantities import Duration, Frequency, Integer, Mode, Size, SystemDuration
from .words import Bind, Choice, File, Flag, Text, UnixAddress

__all__ = [
    "AUTO",
    "Auto",
    "Bind",
    "Choice",
    "Duration",
    "File",
    "Flag",
    "Frequency",
    "Integer",
    "Kind",
    "Mode",
    "Repeated",
    "Size",
    "SystemDuration",
    "Text",
    "UnixAddress",
    "Unless",
    "quote",
]
