"""TLS of a server: certificates, loaded, judged, chosen by the name that a client asks for, and exchanged."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import ssl
import stat
import time
from collections.abc import Sequence
from typing import Final

from ..address import Address, Kind, Scheme, parse_address
from ..config import DefaultBind, TlsConfig
from ..core.x509 import Certificate
from ..engines.base import Engine
from ..engines.link import LayerMaker, LinkUser, stacked
from ..engines.listener import Listener
from ..engines.tls.contexts import calls_python, load_authorities, load_pair, load_revoked, strict
from ..engines.tls.either import EitherLayer
from ..engines.tls.layer import TlsLayer
from ..engines.tls.shown import keep_shown
from ..errors import ConfigurationError, TlsError, TlsMaterialError
from ..reasons import CloseReason

# A certificate that is valid for fewer days is warned of: what renews them does so 30 days before.
WARN_DAYS: Final = 14

_MODES: Final = {"required": ssl.CERT_REQUIRED, "optional": ssl.CERT_OPTIONAL, "off": ssl.CERT_NONE}


class Material:
    """What one configuration makes of its files, whole.

    Args:
        config: Says which files.

    Raises:
        TlsMaterialError: One of them is missing or wrong.

    Attributes:
        config: The same.
        context: Of a client that asks for no name that is known; it hands others to the context of theirs.
        leaves: The certificates that are shown, in the order of the configuration.
        judge: Says why a client is refused whom `ssl` has accepted; None where there is nothing to say.
    """

    def __init__(self, config: TlsConfig) -> None:
        self.config = config
        self._contexts: list[tuple[Certificate, ssl.SSLContext]] = []
        for index, cert in enumerate(config.cert):
            context = _context(config)
            chain = load_pair(context, cert, config.key[index] if config.key else None, option="tls_cert")
            self._contexts.append((chain[0], context))
        self.context = self._contexts[0][1]
        self.leaves = [leaf for leaf, _ in self._contexts]
        self._keys = config.key or config.cert
        self.context.sni_callback = self._named
        self._alpn = config.alpn
        self.judge = self._no_protocol if config.alpn_required else None

    def _named(self, session: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        """A client asks for a name, or for none."""
        if name is None:
            return
        session.penstock_name = name  # type: ignore[attr-defined]  # Python keeps it nowhere at this end
        for leaf, context in self._contexts:
            if leaf.is_for(name):
                session.context = context
                return

    def _no_protocol(self, session: ssl.SSLObject) -> TlsError | None:
        """Refuse a client that offers no protocol that is spoken here."""
        if session.selected_alpn_protocol() is not None:
            return None
        known = ", ".join(self._alpn)
        return TlsError(CloseReason.TLS_HANDSHAKE, f"the client offers none of the protocols of ALPN: {known}")

    def expiry(self, now: float) -> str:
        """Say which certificates are shown and how long each is valid, for the log."""
        shown = (
            f"{', '.join(leaf.names) or leaf.subject} until {leaf.not_after:%Y-%m-%d} ({leaf.days_left(now):.0f} days)"
            for leaf in self.leaves
        )
        return "; ".join(shown)

    def warnings(self, now: float) -> list[str]:
        """Say what is wrong with the files, a sentence each: as `of_time`, and who can read them."""
        found = self.of_time(now)
        for path in self._keys:
            with contextlib.suppress(OSError):
                if os.stat(path).st_mode & stat.S_IROTH:
                    found.append(f"{path}: every user of this machine can read the private key; chmod 600 it")
        return found

    def of_time(self, now: float) -> list[str]:
        """Say of each certificate whose time has not come, is over, or is so soon, a sentence each."""
        found = []
        for leaf in self.leaves:
            days = leaf.days_left(now)
            names = ", ".join(leaf.names) or leaf.subject
            if days < 0:
                found.append(
                    f"the certificate for {names} expired on {leaf.not_after:%Y-%m-%d}: clients will refuse it"
                )
            elif leaf.not_before.timestamp() > now:
                found.append(f"the certificate for {names} is valid from {leaf.not_before:%Y-%m-%d} on, not before")
            elif days < WARN_DAYS:
                found.append(f"the certificate for {names} expires in {days:.0f} days, on {leaf.not_after:%Y-%m-%d}")
        return found


def layer_by(context: ssl.SSLContext, *, in_memory: bool = False) -> LayerMaker:
    """Return what makes the layers of connections whose context is the user's own.

    Args:
        context: The context.
        in_memory: As of `TlsLayer`.
    """
    wrap = functools.partial(context.wrap_bio, server_side=True)
    return lambda user: TlsLayer(user, wrap, in_memory=in_memory or calls_python(context))


class ServerTls:
    """What the TLS listeners of a server have in common: connections that begin take what is there then.

    Args:
        config: Says which files.

    Raises:
        TlsMaterialError: As `Material`.
    """

    def __init__(self, config: TlsConfig) -> None:
        self.material = Material(config)
        self._in_memory = config.link == "memory"

    def why_in_python(self, engine: Engine) -> str | None:
        """Return why no record passes in compiled code; None where it does."""
        return "asked for" if self._in_memory else engine.why_ssl()

    def layer(self, user: LinkUser) -> TlsLayer:
        """Make one connection's layer."""
        return TlsLayer(user, self._wrap, judge=self.material.judge, in_memory=self._in_memory)

    def _wrap(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> ssl.SSLObject:
        return self.material.context.wrap_bio(incoming, outgoing, server_side=True)

    def secure(self, tls: ssl.SSLContext | None) -> LayerMaker:
        """Return what makes the layer of a connection that has begun in clear, perhaps of its own context."""
        return self.layer if tls is None else layer_by(tls, in_memory=self._in_memory)

    def exchange(self, material: Material) -> None:
        """Show other certificates from now on. Connections that are open keep what they have."""
        self.material = material


def tls_of(config: TlsConfig, addresses: Sequence[Address], *, alone: bool = True) -> ServerTls | None:
    """Return the TLS of a server that listens on these addresses; None where it has none.

    Args:
        config: What it is to be spoken with.
        addresses: Where.
        alone: The configuration is this server's only; else it may be another's of the application who needs it.

    Raises:
        ConfigurationError: An address wants TLS and there is no certificate; or there is one, or a client CA, and no
            address wants it.
    """
    wanting = [address for address in addresses if address.may_be_tls]
    if not config.cert:
        if wanting:
            raise TlsMaterialError(
                f"{wanting[0]}: TLS needs a certificate: give one with --tls-cert, and its key with --tls-key"
            )
        if config.client_ca and alone:
            raise _unused("tls_client_ca", addresses)
        return None
    if not wanting and not alone:
        return None
    if not wanting:
        raise _unused("tls_cert", addresses)
    return ServerTls(config)


def check_certificates(servers: Sequence[tuple[TlsConfig, Sequence[str]]]) -> None:
    """Refuse certificates that are for no address of an application: TLS was meant, and all is served in clear.

    Args:
        servers: For each service what TLS is spoken with, and its addresses as they were given.

    Raises:
        ConfigurationError: As `tls_of`. One that several services were given is for any of them.
    """
    for config, _ in servers:
        has_own = bool(config.cert or config.dev)  # then it is spoken where no address was chosen
        name = "tls_cert" if config.cert else "tls_dev" if config.dev else "tls_client_ca" if config.client_ca else ""
        binds = [bind for other, bind in servers if name and other == config]
        addresses = [parse_address(text) for bind in binds for text in bind]
        is_spoken = any(has_own and isinstance(bind, DefaultBind) for bind in binds)
        if name and not is_spoken and not any(address.may_be_tls for address in addresses):
            raise _unused(name, addresses)


def _unused(name: str, addresses: Sequence[Address]) -> ConfigurationError:
    shown = ", ".join(map(str, addresses))
    return ConfigurationError(
        f"there is a {name}, and no address speaks TLS: {shown}; write tls://HOST:PORT, or "
        "tcp://HOST:PORT?tls=start where a handler starts it"
    )


def with_tls(address: Address) -> Address:
    """Return the address of the same socket where TLS is spoken; itself where that cannot be."""
    if address.scheme is Scheme.TCP:
        return dataclasses.replace(address, scheme=Scheme.TLS)
    if address.scheme in {Scheme.UNIX, Scheme.FD}:
        return dataclasses.replace(address, tls=True)
    return address


def layered(listener: Listener, tls: ServerTls | None) -> Listener:
    """Return a listener whose connections speak TLS, where its address says so; else itself.

    Args:
        listener: It.
        tls: What TLS is spoken with; None where there is nothing.

    Raises:
        TlsMaterialError: Its address says so, and there is nothing to speak it with: in clear it is never served.
        ConfigurationError: Its socket is no stream.
    """
    requested = listener.requested
    if tls is None:
        if requested.may_be_tls:
            raise TlsMaterialError(f"{requested}: there is no certificate to speak TLS with")
        return listener
    if requested.starts_tls:
        return dataclasses.replace(listener, address=dataclasses.replace(listener.address, starts_tls=True))
    if requested.scheme is Scheme.TCP_TLS:
        either = functools.partial(EitherLayer, tls=tls.layer)
        return dataclasses.replace(listener, layer=stacked(listener.layer, either))
    if not requested.is_tls:
        return listener
    if listener.kind is not Kind.STREAM:
        raise ConfigurationError(f"{listener.requested}: TLS needs a stream, and this is a {listener.kind} socket")
    return dataclasses.replace(listener, address=with_tls(listener.address), layer=stacked(listener.layer, tls.layer))


def warnings_now(tls: ServerTls | None) -> list[str]:
    """Return what to warn of about the certificates, now."""
    return [] if tls is None else tls.material.warnings(time.time())


def _context(config: TlsConfig) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    strict(context, config.minimum, config.ciphers, config.alpn)
    if config.client_ca is not None:
        load_authorities(context, config.client_ca, "tls_client_ca")
        auth = "required" if config.client_auth == "auto" else config.client_auth
        context.verify_mode = _MODES[auth]
        keep_shown(context)
        if config.crl is not None:
            load_revoked(context, config.crl, "tls_crl")
    return context
