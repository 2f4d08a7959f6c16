"""Options as keyword arguments: `run` and `serve` take each under the one name that it has everywhere.

What a type checker knows of them is `typed.ServerOptions`, which is made from the options by ``make docs-tables``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..address import Scheme, parse_address
from ..errors import ConfigurationError
from ..suggest import did_you_mean
from .kinds import Repeated
from .option import Option
from .options import GROUPS, ServerConfig, build, options, paths

# Not options of their own: in code the address of a TCP server is often two values.
HOST_AND_PORT: Final = ("host", "port")
DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 9000


def from_keywords(given: Mapping[str, object]) -> ServerConfig:
    """Make a configuration from keyword arguments.

    Each is called as in TOML (``timeout_idle``) and takes what the command line takes (``"5m"``), or what a field of
    the configuration takes (``300.0``, None). ``gate``, ``timeouts``, ``limits``, ``overload`` and ``tcp`` are whole
    groups, or some options of one by their names (``timeouts={"idle": "5m"}``); what is given beside one replaces its
    field. ``host`` and ``port`` stand for a ``bind`` on TCP.

    Raises:
        ConfigurationError: There is no such option (the nearest is suggested), a value is refused, or two contradict
            each other.
    """
    return build(*_read_all(given))


def flat(given: Mapping[str, object]) -> dict[str, object]:
    """Return what keyword arguments set, by option name: a layer to put over others. A whole group sets all of it.

    Raises:
        ConfigurationError: There is no such option, or a value is refused.
    """
    values, groups = _read_all(given)
    whole: dict[str, object] = {}
    for name, path in paths().items():
        group, _, field = path.rpartition(".")
        if group in groups:
            if not isinstance(groups[group], GROUPS[group]):
                raise ConfigurationError(
                    f"expected {GROUPS[group].__name__} or a dict, got {type(groups[group]).__name__}", group
                )
            whole[name] = getattr(groups[group], field)
    return whole | values


def timeouts_of(given: Mapping[str, object]) -> dict[str, Any]:
    """Return the fields of `Timeouts` that some of its options set: ``{"idle": "5m"}``.

    Raises:
        ConfigurationError: There is no such option, or a value is refused.
    """
    values = flat({"timeouts": given})
    return {path.rpartition(".")[2]: values[name] for name, path in paths().items() if name in values}


def timeouts_together(timeouts: Mapping[str, object], more: Mapping[str, object]) -> Mapping[str, object]:
    """Return timeouts of a service that are given as a group, and as options one by one, which go before.

    Raises:
        ConfigurationError: Among the latter is another option. Where a service listens is not its own business, say.
    """
    if not more:
        return timeouts
    names = [name for name, path in paths().items() if path.startswith("timeouts.")]
    for name in more:
        if name not in names:
            hint = did_you_mean(name, names) or "; the other options are given where it is served"
            raise ConfigurationError(f"{name} is no timeout of a service{hint}")
    return {name.removeprefix("timeout_"): value for name, value in (*timeouts.items(), *more.items())}


def _read_all(given: Mapping[str, object]) -> tuple[dict[str, object], dict[str, object]]:
    """Return the values by option name, and the groups that were given whole."""
    known = {option.name: option for option in options()}
    values: dict[str, object] = {}
    groups: dict[str, object] = {}
    place: dict[str, object] = {}
    parts: dict[str, object] = {}
    for name, value in given.items():
        if name in known:
            if name != "bind" or value is not None:
                values[name] = _read(known[name], value)
        elif name in GROUPS and isinstance(value, Mapping):
            parts |= _of_group(name, value, known)
        elif name in GROUPS:
            groups[name] = value
        elif name in HOST_AND_PORT:
            place[name] = value
        else:
            meant = did_you_mean(name, [*known, *GROUPS, *HOST_AND_PORT])
            raise ConfigurationError(f"unknown option {name!r}{meant}")
    if any(value is not None for value in place.values()):
        if "bind" in values:
            raise ConfigurationError("host and port are a short form of bind: leave them out", "bind")
        scheme = Scheme.TLS if (parts | values).get("tls_cert") else Scheme.TCP
        values["bind"] = (_address(scheme, **place),)
    return parts | values, groups


def _of_group(group: str, given: Mapping[object, object], known: Mapping[str, Option]) -> dict[str, object]:
    """Read some options of one group: ``timeout_idle`` may be called ``idle`` among the timeouts."""
    prefix = f"{group.removesuffix('s')}_"
    names = {name.removeprefix(prefix): name for name, path in paths().items() if path.startswith(f"{group}.")}
    values: dict[str, object] = {}
    for key, value in given.items():
        name = names.get(str(key), str(key))
        if name not in names.values():
            raise ConfigurationError(f"unknown option {key!r}{did_you_mean(str(key), names)}", group)
        values[name] = _read(known[name], value)
    return values


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


def _address(scheme: Scheme, host: object = None, port: object = None) -> str:
    if host is not None and not (isinstance(host, str) and host):
        raise ConfigurationError(f"expected a host name or an address, got {host!r}", "host")
    if isinstance(port, str) and port.isascii() and port.isdecimal():
        port = int(port)
    if port is not None and (isinstance(port, bool) or not isinstance(port, int)):
        raise ConfigurationError(f"expected a whole number from 0 to 65535, got {port!r}", "port")
    name = DEFAULT_HOST if host is None else host
    bracketed = f"[{name}]" if ":" in name and not name.startswith("[") else name
    text = f"{scheme}://{bracketed}:{DEFAULT_PORT if port is None else port}"
    try:
        parse_address(text)
    except ConfigurationError as error:
        raise ConfigurationError(error.problem, "port" if host is None else "host") from None
    return text
