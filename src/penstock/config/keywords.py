"""Options as keyword arguments: `run` and `serve` take each under the one name that it has everywhere.

What a type checker knows of them is `typed.ServerOptions`, which is made from the options by ``make docs-tables``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ..address.parse import parse_address
from ..errors import ConfigurationError
from ..suggest import did_you_mean
from .kinds import Repeated
from .option import Option
from .options import GROUPS, ServerConfig, build, options

# Not options of their own: in code the address of a TCP server is often two values.
HOST_AND_PORT: Final = ("host", "port")
DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 9000


def from_keywords(given: Mapping[str, object]) -> ServerConfig:
    """Make a configuration from keyword arguments.

    Each is called as in TOML (``timeout_idle``) and takes what the command line takes (``"5m"``), or what a field of
    the configuration takes (``300.0``, None). ``gate``, ``timeouts``, ``limits``, ``overload`` and ``tcp`` are whole
    groups; what is given beside one replaces its field. ``host`` and ``port`` stand for a ``bind`` on TCP.

    Raises:
        ConfigurationError: There is no such option (the nearest is suggested), a value is refused, or two contradict
            each other.
    """
    known = {option.name: option for option in options()}
    values: dict[str, object] = {}
    groups: dict[str, object] = {}
    place: dict[str, object] = {}
    for name, value in given.items():
        if name in known:
            if name != "bind" or value is not None:
                values[name] = _read(known[name], value)
        elif name in GROUPS:
            groups[name] = value
        elif name in HOST_AND_PORT:
            place[name] = value
        else:
            meant = did_you_mean(name, [*known, *GROUPS, *HOST_AND_PORT])
            raise ConfigurationError(f"unknown option {name!r}{meant}")
    if any(value is not None for value in place.values()):
        if "bind" in values:
            raise ConfigurationError("bind says all of it: leave out host and port", "bind")
        values["bind"] = (_address(**place),)
    return build(values, groups)


def _read(option: Option, value: object) -> object:
    kind = option.kind
    try:
        if isinstance(kind, Repeated):
            items = value if isinstance(value, list | tuple) else [value]
            read = tuple(kind.kind.parse(item) if isinstance(item, str) else item for item in items)
            kind.check(read)
            # As it was: "not set" says more than the default's value.
            return value if isinstance(value, tuple) and value == read else read
        if isinstance(value, str):
            return kind.parse(value)
        kind.check(value)
    except ConfigurationError as error:
        raise ConfigurationError(error.problem, option.name) from None
    return value


def _address(host: object = None, port: object = None) -> str:
    if host is not None and not (isinstance(host, str) and host):
        raise ConfigurationError(f"expected a host name or an address, got {host!r}", "host")
    if isinstance(port, str) and port.isascii() and port.isdecimal():
        port = int(port)
    if port is not None and (isinstance(port, bool) or not isinstance(port, int)):
        raise ConfigurationError(f"expected a whole number from 0 to 65535, got {port!r}", "port")
    name = DEFAULT_HOST if host is None else host
    bracketed = f"[{name}]" if ":" in name and not name.startswith("[") else name
    text = f"tcp://{bracketed}:{DEFAULT_PORT if port is None else port}"
    try:
        parse_address(text)
    except ConfigurationError as error:
        raise ConfigurationError(error.problem, "port" if host is None else "host") from None
    return text
