"""What a configuration allows and perhaps does not mean."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ..address import Scheme, parse_address
from ..config import ServerConfig
from ..config.options import values
from ..units import format_duration

# Those whose absence lets a peer that does nothing hold a connection for ever.
_PROTECTING: Final = ("timeout_handshake", "timeout_first_message", "timeout_idle", "timeout_message", "timeout_write")
# Those whose absence lets one peer hold all there is to hold.
_LIMITING: Final = ("max_connections", "max_per_peer", "max_handshakes", "max_sessions")


def warnings_about(config: ServerConfig, addresses: Iterable[str]) -> list[str]:
    """Return what to warn of before it is served, a sentence each.

    Args:
        config: How.
        addresses: Where: as configured, or as they are listened on, for of a socket that was handed down nothing is
            known before.
    """
    found: list[str] = []
    parsed = {text: parse_address(text) for text in addresses}
    public = [text for text, at in parsed.items() if at.is_public and not at.is_tls]
    if public and config.warn_public:
        found.append(
            f"{', '.join(public)}: open to every host that can reach this machine, without encryption; "
            "--no-warn-public or warn_public=False silences this"
        )
    if public:
        value = values(config)
        replaced = () if value["timeout_receive_idle"] is None else ("timeout_idle",)
        if off := [name for name in _PROTECTING if value[name] is None and name not in replaced]:
            found.append(f"{', '.join(off)}: off on a public address: idle clients stay forever")
        if endless := [name for name in _LIMITING if value[name] is None]:
            found.append(f"{', '.join(endless)}: off on a public address: one client can take all capacity")
    write_s, kernel_s = config.timeouts.write_s, config.tcp.user_timeout_s
    is_shorter = kernel_s is not None and (write_s is None or write_s > kernel_s)
    if is_shorter and any(at.scheme in (Scheme.TCP, Scheme.TCP_TLS) for at in parsed.values()):
        found.append(
            f"timeout_write is {format_duration(write_s)}, but the kernel drops a TCP client that stops reading after "
            f"tcp_user_timeout, {format_duration(kernel_s)}: set that, too"
        )
    return found
