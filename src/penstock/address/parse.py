"""From text to `Address`. Every mistake has its own sentence, which says what is allowed or what to write instead."""

import os
import re
import socket
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from ..errors import ConfigurationError
from ..suggest import did_you_mean
from .model import ANY_HOST, UNIX_SCHEMES, Address, Family, Scheme, default_family
from .unix_name import MAX_UNIX_PATH_BYTES, unquote_path

MAX_PORT: Final = 65535

_PORT: Final = re.compile(r"0|[1-9][0-9]{0,4}", re.ASCII)
_NAME_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
_NUMBER_LABEL: Final = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
_ZONE: Final = re.compile(r"[^\s/%\[\]?#&]{1,15}")  # the name of an interface is shorter than IFNAMSIZ, 16
_DESCRIPTOR: Final = re.compile(r"0|[1-9][0-9]{0,8}", re.ASCII)
_DESCRIPTOR_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.@-]{0,254}", re.ASCII)
_MODE: Final = re.compile(r"(?:0o?)?([0-7]{3})", re.ASCII)

# What may follow ``?``, of those that take something else than the network's.
_PARAMETERS: Final[Mapping[Scheme, tuple[str, ...]]] = {
    Scheme.TCP: ("family", "tls", "proxy"),
    Scheme.FD: ("tls", "proxy"),
    Scheme.UNIX: ("mode", "tls", "proxy"),
    Scheme.UNIX_DGRAM: ("mode", "proxy"),
    Scheme.UNIX_SEQPACKET: ("mode", "proxy"),
    Scheme.UDP: ("family", "interface", "proxy"),
    Scheme.RAW_ICMP: ("family",),
}

_NO_HOST: Final = "it has no host; write 127.0.0.1 for this machine only, * for every address"


def parse_address(text: str) -> Address:
    """Read one address. Names are not resolved and paths not looked at.

    Raises:
        ConfigurationError: ``text`` is not an address. The problem quotes it, says what is allowed and what to write.
    """
    try:
        return _parse(text)
    except ConfigurationError as error:
        shown = text if len(text) <= 150 else f"{text[:150]}…"
        raise ConfigurationError(_printable(f"{shown!r} is not an address: {error.problem}")) from None


def _parse(text: str) -> Address:
    if not text:
        raise ConfigurationError("it is empty; write tcp://HOST:PORT, udp://HOST:PORT or unix:PATH")
    if text != text.strip():
        raise ConfigurationError("it begins or ends with a space")
    body, mark, query = text.partition("?")
    scheme, rest = _split_scheme(body)
    parameters = _parse_query(scheme, query) if mark else {}
    return replace(
        _parse_place(scheme, rest, parameters),
        tls=_parse_tls(scheme, parameters.get("tls", "off")) == "on",
        starts_tls=parameters.get("tls") == "start",
        direct=not _parse_switch("proxy", parameters.get("proxy", "on")),
    )


def _parse_place(scheme: Scheme, rest: str, parameters: Mapping[str, str]) -> Address:
    if scheme is Scheme.FD:
        return _parse_fd(rest)
    if scheme in UNIX_SCHEMES:
        return _parse_unix(scheme, rest, parameters.get("mode"))
    return _parse_network(scheme, rest, parameters.get("family"), parameters.get("interface"))


def _split_scheme(body: str) -> tuple[Scheme, str]:
    known = {scheme.value: scheme for scheme in Scheme}
    head, _, rest = body.partition(":")
    scheme = known.get(head.lower())
    if scheme in UNIX_SCHEMES:
        return scheme, rest
    head, mark, rest = body.partition("://")
    if mark:
        if head.lower() in known:
            return known[head.lower()], rest
        raise ConfigurationError(f"unknown scheme {head!r}, known are {', '.join(known)}{did_you_mean(head, known)}")
    if scheme is not None:
        raise ConfigurationError(f"two slashes are missing; write {scheme}://…")
    if body.startswith(("/", "./", "../", "@")):
        raise ConfigurationError(f"it has no scheme; write unix:{body} for a Unix socket")
    if body.isdecimal():
        raise ConfigurationError(
            f"it has no host; write 127.0.0.1:{body} for this machine only, :{body} for every address"
        )
    is_port_alone = body.startswith(":") and ":" not in body[1:]
    return Scheme.TCP, ANY_HOST + body if is_port_alone else body


def _parse_query(scheme: Scheme, query: str) -> dict[str, str]:
    allowed = _PARAMETERS.get(scheme, ("family", "proxy"))
    parameters: dict[str, str] = {}
    for item in query.split("&"):
        name, _, value = item.partition("=")
        if name not in allowed:
            *others, last = (f"{each}=" for each in allowed)
            takes = f"{', '.join(others)} and {last}" if others else last
            hint = did_you_mean(name, allowed)
            raise ConfigurationError(f"unknown parameter {name!r}, {scheme} takes only {takes}{hint}")
        if name in parameters:
            raise ConfigurationError(f"parameter {name!r} is given twice")
        parameters[name] = value
    return parameters


def _parse_tls(scheme: Scheme, text: str) -> str:
    if text == "on" and scheme is Scheme.TCP:
        raise ConfigurationError("TLS over TCP has a scheme of its own; write tls://HOST:PORT")
    if text not in {"on", "off", "start"}:
        raise ConfigurationError(f"tls={text} is none of on, off and start")
    return text


def _parse_switch(name: str, text: str) -> bool:
    if text not in {"on", "off"}:
        raise ConfigurationError(f"{name}={text} is neither on nor off")
    return text == "on"


def _parse_fd(rest: str) -> Address:
    if _DESCRIPTOR.fullmatch(rest):
        return Address(Scheme.FD, fd=int(rest))
    if _DESCRIPTOR_NAME.fullmatch(rest):
        return Address(Scheme.FD, fd=rest)
    raise ConfigurationError(
        f"{rest!r} is neither the number of an inherited descriptor nor its name in LISTEN_FDNAMES; write fd://3"
    )


# -- Unix sockets -----------------------------------------------------------------------------------------------------


def _parse_unix(scheme: Scheme, rest: str, mode: str | None) -> Address:
    if rest.startswith("//"):
        rest = rest[2:]
        if rest and not rest.startswith(("/", "@")):
            # unix://run/x.sock: the first directory would be taken for a host. Two readings, so neither.
            raise ConfigurationError(
                f"a path follows two slashes only with a third; "
                f"write {scheme}:///{rest} if it is absolute, {scheme}:{rest} if it is relative"
            )
    path = unquote_path(rest)
    if path in {"", "@"}:
        raise ConfigurationError(f"it has no path; write {scheme}:///run/x.sock, {scheme}:x.sock or {scheme}://@name")
    if "\0" in path:
        raise ConfigurationError("the path has a NUL in it, which no path can have")
    # The @ of an abstract name stands for the NUL that the kernel wants before it.
    size = len(os.fsencode(path)) - path.startswith("@")
    if size > MAX_UNIX_PATH_BYTES:
        raise ConfigurationError(
            f"the path has {size} bytes, and that of a Unix socket has at most {MAX_UNIX_PATH_BYTES}; "
            "use a shorter or a relative one"
        )
    if path.endswith("/") and not path.startswith("@"):
        raise ConfigurationError("the path ends with a slash; name the socket in the directory")
    if mode is None:
        return Address(scheme, path=path, family=Family.UNIX)
    if path.startswith("@"):
        raise ConfigurationError("an abstract name has no file and no mode=; use a path to say who may connect")
    digits = _MODE.fullmatch(mode)
    if digits is None:
        raise ConfigurationError(f"mode {mode!r} is not an octal number from 0000 to 0777, like mode=0600")
    return Address(scheme, path=path, family=Family.UNIX, mode=int(digits[1], 8))


# -- hosts and ports --------------------------------------------------------------------------------------------------


def _parse_network(scheme: Scheme, rest: str, family: str | None, interface: str | None) -> Address:
    asked = _parse_family(family)
    host_text, port_text = _split_host(scheme, rest)
    host = _parse_host(scheme, host_text)
    port = None
    if scheme is not Scheme.RAW_ICMP:
        port = _parse_port(port_text)
    elif port_text is not None:
        raise ConfigurationError(f"ICMP has no ports; write {scheme}://{host_text}")
    if host == ANY_HOST:
        # One form for one meaning, so that equal addresses are equal values.
        if asked in {Family.IPV4, Family.IPV6}:
            host = "0.0.0.0" if asked is Family.IPV4 else "::"
        elif scheme is Scheme.RAW_ICMP:
            raise ConfigurationError(f"ICMP and ICMPv6 are two protocols; write {scheme}://0.0.0.0 or {scheme}://[::]")
    if interface is not None:
        return _on_interface(Address(scheme, host, port, family=default_family(scheme, host)), interface, asked)
    default = default_family(scheme, host)
    if asked is None or asked is default or (asked is Family.DUAL and default is Family.ANY):
        return Address(scheme, host, port, family=default)
    if default is Family.ANY or (default is Family.DUAL and asked is Family.IPV6):
        return Address(scheme, host, port, family=asked)
    raise ConfigurationError(f"family={asked} does not fit the host {host}; leave it out, or change the host")


def _on_interface(address: Address, interface: str, family: Family | None) -> Address:
    """Return the address of a multicast group on an interface: of IPv6 in its zone, which is the one form."""
    if not address.is_multicast:
        raise ConfigurationError(f"interface= is for a multicast group, and {address.host} is none; leave it out")
    if family not in {None, address.family}:
        raise ConfigurationError(f"family={family} does not fit the host {address.host}; leave it out")
    if not (_ZONE.fullmatch(interface) and interface.isprintable()):
        raise ConfigurationError(f"interface {interface!r} is not the name of an interface; write interface=eth0")
    if address.family is Family.IPV4:
        return replace(address, interface=interface)
    group, _, zone = address.host.partition("%")
    if zone not in {"", interface}:
        raise ConfigurationError(f"zone {zone!r} and interface={interface} are two interfaces; leave one out")
    return replace(address, host=f"{group}%{interface}")


def _parse_family(text: str | None) -> Family | None:
    choices = [Family.IPV4.value, Family.IPV6.value, Family.DUAL.value]
    if text is not None and text not in choices:
        raise ConfigurationError(
            f"unknown family {text!r}, known are {', '.join(choices)}{did_you_mean(text, choices)}"
        )
    return None if text is None else Family(text)


def _split_host(scheme: Scheme, rest: str) -> tuple[str, str | None]:
    """Cut ``HOST:PORT`` in two; the brackets of an IPv6 address stay on."""
    if rest.startswith("["):
        literal, bracket, tail = rest.partition("]")
        if not bracket:
            raise ConfigurationError("the closing bracket is missing; write [::1]:9000")
        if tail and not tail.startswith(":"):
            raise ConfigurationError(f"{tail!r} after the bracket is not a port; write {literal}]:9000")
        return literal + bracket, tail[1:] if tail else None
    host, colon, port = rest.rpartition(":")
    if not colon:
        return rest, None
    if ":" in host:
        for literal, suffix in ((host, f":{port}"), (rest, "" if scheme is Scheme.RAW_ICMP else ":9000")):
            if _pack_ipv6(literal.partition("%")[0]) is not None:
                raise ConfigurationError(f"an IPv6 address stands in brackets; write {scheme}://[{literal}]{suffix}")
        raise ConfigurationError("it has too many colons; write HOST:PORT, or [IPV6]:PORT")
    return host, port


def _parse_port(text: str | None) -> int:
    if not text:
        raise ConfigurationError(f"it has no port; write HOST:PORT, with a port from 1 to {MAX_PORT}")
    # One way to write a number: no sign, no space, no underscore, no leading zero, no digits of other scripts.
    if not _PORT.fullmatch(text) or int(text) > MAX_PORT:
        raise ConfigurationError(f"port {text!r} is not a number from 0 to {MAX_PORT}")
    return int(text)


def _parse_host(scheme: Scheme, text: str) -> str:
    if text == ANY_HOST:
        return text
    if text in {"", "[]"}:
        raise ConfigurationError(_NO_HOST)
    if text.startswith("["):
        return _parse_ipv6(text[1:-1])
    host = text.lower()
    if not host.isascii():
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError as error:
            raise ConfigurationError(f"host {text!r} is not a name: {error}") from None
    labels = host.removesuffix(".").split(".")
    # As in the URL standard, what ends with a number is an IPv4 address or a mistake, never a name: 127.1, 0x7f.1 and
    # 10.0.0.300 are refused, not guessed at.
    if _NUMBER_LABEL.fullmatch(labels[-1]):
        try:
            return socket.inet_ntop(socket.AF_INET, socket.inet_pton(socket.AF_INET, host))
        except (OSError, ValueError):  # ValueError: a NUL in it
            raise ConfigurationError(f"host {text!r} is not an IPv4 address: four numbers from 0 to 255") from None
    if len(host) > 253 or not all(map(_NAME_LABEL.fullmatch, labels)):
        example = f"{scheme}://127.0.0.1{'' if scheme is Scheme.RAW_ICMP else ':9000'}"
        raise ConfigurationError(f"host {text!r} is neither a name nor an IP address; write {example}")
    return host


def _parse_ipv6(text: str) -> str:
    literal, percent, zone = text.partition("%")
    packed = _pack_ipv6(literal)
    if packed is None:
        raise ConfigurationError(f"{literal!r} in brackets is not an IPv6 address")
    # RFC 6874 wrote the % of a zone as %25 in a URI, and RFC 9844 takes that back. Many programs still write it, so %25
    # is read as % wherever it stands: [fe80::1%25eth0] is [fe80::1%eth0], and interface 251 is [fe80::1%25251].
    if percent and zone.startswith("25"):
        zone = zone[2:]
        if not zone:
            raise ConfigurationError("%25 is read as %, and no zone follows; write %2525 for interface 25")
    if percent and not (_ZONE.fullmatch(zone) and zone.isprintable()):
        raise ConfigurationError(f"zone {zone!r} is not the name of an interface; write [fe80::1%eth0]")
    if packed.startswith(bytes(10) + b"\xff\xff"):  # IPv4-mapped: the same endpoint as the IPv4 address
        return socket.inet_ntop(socket.AF_INET, packed[12:])
    return socket.inet_ntop(socket.AF_INET6, packed) + percent + zone


def _pack_ipv6(text: str) -> bytes | None:
    try:
        return socket.inet_pton(socket.AF_INET6, text)
    except (OSError, ValueError):  # ValueError: not ASCII, or a NUL in it
        return None


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
