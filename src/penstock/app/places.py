"""Where the services of an application listen: as configured, or on the sockets that a service manager handed down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..address import Scheme, parse_address
from ..config import DefaultBind, ServerConfig
from ..errors import ConfigurationError
from ..server.inherited import InheritedSocket

Places = dict[str, tuple[ServerConfig, list[InheritedSocket]]]


def shared_out(configs: Mapping[str, ServerConfig], inherited: Sequence[InheritedSocket]) -> Places:
    """Give each service its configuration, addresses included, and the inherited sockets that it listens on.

    A service without an address has the sockets that are called like it (``FileDescriptorName=`` of a socket unit). One
    that is alone has all of them, or the default address.

    Raises:
        ConfigurationError: A service has no address, or an inherited socket no service.
    """
    found: Places = {}
    for name, config in configs.items():
        if isinstance(config.bind, DefaultBind):
            mine = [each for each in inherited if len(configs) == 1 or each.name == name]
            if mine:
                found[name] = replace(config, bind=tuple(str(each.address) for each in mine)), mine
                continue
            if len(configs) > 1:
                raise ConfigurationError(
                    f"the service {name} has no address: write bind=… where it is declared, or --bind {name}=ADDRESS"
                )
        addresses = [parse_address(text) for text in config.bind]
        named = {address.fd for address in addresses if address.scheme is Scheme.FD}
        found[name] = config, [each for each in inherited if each.fd in named or each.name in named]
    served = {each.fd for _, mine in found.values() for each in mine}
    unused = [f"fd://{fd} ({name})" for fd, name in inherited if fd not in served]
    if unused:
        raise ConfigurationError(
            f"{len(inherited)} sockets were inherited (LISTEN_FDS), and no service has {', '.join(unused)}: name it "
            f"after one of {', '.join(configs)}, or bind a service to it"
        )
    return found
