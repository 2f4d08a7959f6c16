"""Regenerate what a type checker knows of the options of `serve` and `run`, from the options themselves."""

import textwrap
from collections.abc import Iterable
from pathlib import Path

from penstock.config.kinds import Choice, Duration, Flag, Frequency, Integer, Kind, Mode, Repeated, Size, Text, Unless
from penstock.config.option import Option
from penstock.config.options import GROUPS, options, paths

ROOT = Path(__file__).parent.parent
TARGET = ROOT / "src" / "penstock" / "config" / "typed.py"

HEAD = '''"""The options of `serve` and `run`, as a type checker sees them.

Made by ``make docs-tables`` from the options' one description; not to be edited.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, TypedDict

from ..units import Rate
from .gate import GateConfig
from .options import Limits, Timeouts
from .overload import OverloadConfig, TcpConfig
from .process import ProcessConfig
from .tls import TlsConfig
from .workers import WorkersConfig


class ServerOptions(TypedDict, total=False):
    """Every option of a server, as in ``penstock.toml``: ``ServerOptions(timeout_idle="5m", max_connections=5)``."""

    host: str | None
    """Listen on this host, over TCP; a short form of ``bind``. Default: 127.0.0.1."""
    port: int | None
    """Listen on this port, over TCP; a short form of ``bind``. Default: 9000."""
'''

TIMEOUTS = '''\
class TimeoutOptions(TypedDict, total=False):
    """The options that a service may set for itself."""

'''

TYPES: dict[type[Kind], str] = {
    Duration: "str | float",
    Size: "str | int",
    Integer: "int",
    Mode: "str | int",
    Frequency: "str | Rate | None",
    Flag: "bool",
}


def literal(words: Iterable[str]) -> str:
    """Return the annotation of one of these words."""
    return "Literal[" + ", ".join(f'"{word}"' for word in words) + "]"


def type_of(kind: Kind) -> str:
    """Return the annotation of what a kind takes in code."""
    if isinstance(kind, Repeated):
        return f"{type_of(kind.kind)} | Sequence[{type_of(kind.kind)}]"
    if isinstance(kind, Unless):
        inner = type_of(kind.kind)
        words = ["auto", "none"] if kind.auto else ["none"]
        return inner + ("" if "str" in inner else f" | {literal(words)}") + ("" if "None" in inner else " | None")
    if isinstance(kind, Choice):
        return literal(kind.words)
    if isinstance(kind, Text):
        return "str | None" if kind.optional else "str"
    known = next(TYPES[each] for each in type(kind).__mro__ if each in TYPES)
    return known + (" | None" if isinstance(kind, Duration) and kind.never else "")


def entry(option: Option) -> str:
    """Write one option."""
    kind = type_of(option.kind) + (" | None" if option.name == "bind" else "")
    default = option.default_shown
    sentence = f"{option.help}.{f' Default: {default}.' if default else ''}".replace("\\", "\\\\")
    first = f"    {option.name}: {kind}\n"
    if len(sentence) + 10 <= 120:
        return f'{first}    """{sentence}"""\n'
    text = textwrap.fill(f'"""{sentence}', 120, initial_indent="    ", subsequent_indent="    ")
    return f'{first}{text}\n    """\n'


def render() -> str:
    """Return the whole module."""
    groups = "".join(
        f"    {name}: {group.__name__} | Mapping[str, object]\n"
        '    """A group of options, whole or some of it; what is given beside it replaces its own."""\n'
        for name, group in GROUPS.items()
    )
    own = [option for option in options() if option.name != "codec"]  # a parameter of its own, which takes a Codec too
    timeouts = "".join(entry(option) for option in own if paths()[option.name].startswith("timeouts."))
    return f"{HEAD}{''.join(map(entry, own))}{groups}\n\n{TIMEOUTS}{timeouts}"


def main() -> None:
    """Write the module, if it has changed."""
    text = render()
    if not TARGET.exists() or TARGET.read_text() != text:
        TARGET.write_text(text)
        print(f"updated {TARGET.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
