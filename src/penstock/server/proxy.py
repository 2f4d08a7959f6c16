"""Listeners whose connections come by proxies: the PROXY protocol below all else."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ..address import Address, Kind
from ..address.networks import AccessList
from ..engines.link import stacked
from ..engines.listener import Listener
from ..engines.proxy import ProxyLayer
from ..errors import ConfigurationError


def check_proxied(kind: Kind | None, requested: Address, proxy_from: Sequence[str]) -> None:
    """Refuse a socket on which the PROXY protocol cannot be spoken, where it is to be.

    Raises:
        ConfigurationError: It is no stream.
    """
    if proxy_from and not requested.direct and kind not in (None, Kind.STREAM):
        raise ConfigurationError(
            f"{requested}: the PROXY protocol needs a stream, and this is a {kind} socket: without "
            "--proxy-from, or with ?proxy=off at the end, peers come by themselves"
        )


def proxied(listener: Listener, proxies: AccessList) -> Listener:
    """Return a listener whose connections begin with a PROXY header, or say that its peers come by themselves.

    Args:
        listener: With the layers that are to be under it. What is over it comes later.
        proxies: Who may connect.
    """
    if listener.requested.direct:
        return dataclasses.replace(listener, address=dataclasses.replace(listener.address, direct=True))
    return dataclasses.replace(listener, layer=stacked(listener.layer, ProxyLayer), proxies=proxies)
