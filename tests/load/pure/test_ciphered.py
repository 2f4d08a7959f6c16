"""A load over TLS: every request has its reply, and what is wrong is counted by what it is."""

import asyncio
import contextlib
import errno
import socket
import ssl

import pytest

import penstock
from penstock.address import parse_address
from penstock.client.tls import ClientTls, Handshake, handshake_for
from penstock.engines.tls.failures import TRUNCATED
from penstock.testing.certificates import authority, server_certificate
from penstock.testing.served import served

from ..conftest import echo, run_load

pytest.importorskip("trustme")


@pytest.fixture
def server():
    """A server that sends back each line."""

    @penstock.on_message(codec="lines:max=1MiB")
    def same(message):
        return message

    with served(
        same, engine="pure", loop_factory=asyncio.SelectorEventLoop, bind="tls://127.0.0.1:0", fails=None,
        tls_cert=server_certificate(),
    ) as running:  # fmt: skip
        yield running


def run(address, tls=None, **asked):
    tls = ClientTls(ca=authority().ca) if tls is None else tls
    return run_load("auto", address, handshake=handshake_for(parse_address(address), tls), **asked)


@pytest.mark.parametrize(
    ("codec", "message", "depth"), [("lines:max=1MiB", b"hello", 7), ("raw", b"x" * 99 + b"\n", 3)]
)
@pytest.mark.parametrize("size", [1, 1000], ids=["short", "several records"])
def test_every_request_has_its_reply(server, codec, message, depth, size):
    """Also where a reply is more than one record, or one record holds several."""
    message = message[:-1] * size + message[-1:]
    seen = run(
        server.address, codec=codec, message=message, connections=3, depth=depth, count=60, expect_echo=True
    )  # fmt: skip

    reasons = server.reasons(3)

    assert (60, {}, False) == (seen.latency.count, dict(seen.errors), seen.compiled)
    assert {"peer_closed"} == set(reasons)


# So long such a load tries again. A handshake that took longer, on a busy machine, would be a "connect: timeout".
IN_TIME_S = 2

WRONG = {
    "another authority": (ClientTls(ca=None), "connect: tls: the peer's certificate is refused: "),
    "another key": (ClientTls(ca="ours", pins=(f"sha256/{'A' * 43}=",)), "connect: tls: the peer's key is sha256/"),
}


@pytest.mark.parametrize("which", WRONG)
def test_who_is_not_believed_is_not_loaded(server, which):
    """Each connection verifies; nothing is sent."""
    tls, said = WRONG[which]
    if tls.ca is not None:
        tls = ClientTls(ca=authority().ca, pins=tls.pins)
    seen = run(server.address, tls, count=1, timeout_s=IN_TIME_S)
    messages = server.call(lambda: server.server.messages_in)

    assert (0, 0) == (seen.latency.count, messages)
    assert {True} == {kind.startswith(said) for kind in seen.errors}


def test_a_server_without_tls_and_one_that_says_nothing_are_told_apart(peer):
    """One answers with something else; at the other the time is over."""
    other = run(peer(echo).replace("tcp:", "tls:"), count=1, timeout_s=IN_TIME_S)
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        silent = run("tls://{}:{}".format(*listener.getsockname()), count=1, timeout_s=0.3)

    assert {True} == {kind.startswith("connect: tls: ") for kind in other.errors}
    assert {"connect: timeout"} == set(silent.errors)


@pytest.mark.parametrize(("notifies", "kind"), [(True, "closed by the peer"), (False, f"tls: {TRUNCATED}")])
def test_who_ends_in_the_middle_is_counted(peer, notifies, kind):
    """An end that the peer has not said itself is told apart from one that it has."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server_certificate())

    def leave(sock):
        with context.wrap_socket(sock, server_side=True) as ciphered:
            ciphered.recv(100)
            if notifies:
                ciphered.unwrap().close()

    seen = run(peer(leave).replace("tcp:", "tls:"), count=1, timeout_s=5)

    assert {kind} == set(seen.errors)


SPOKE_FIRST = ssl.SSLError(errno.ENOTCONN, "Closed before TLS handshake with data in recv buffer.")
SPOKE_FIRST.reason = SPOKE_FIRST.strerror  # as `ssl` does
FAULTS = {
    "reset": (OSError(errno.EINVAL, "reset"), "connect: EINVAL"),
    "spoke first": (SPOKE_FIRST, "connect: tls: the peer has spoken and left before the handshake"),
}


@pytest.mark.parametrize("which", FAULTS)
def test_a_peer_that_is_gone_before_the_handshake_begins_is_counted(server, monkeypatch, which):
    """It ends its own connection, which is replaced, and not the load."""
    error, kind = FAULTS[which]
    begun = []

    def wrap_socket(handshake, sock):
        begun.append(sock)
        if len(begun) == 2:
            socket.socket(fileno=sock.detach()).close()  # as `ssl` does: it has gone over
            raise error
        return wrapped(handshake, sock)

    wrapped = Handshake.wrap_socket
    monkeypatch.setattr(Handshake, "wrap_socket", wrap_socket)
    seen = run(server.address, connections=3, count=60)

    assert (60, {kind: 1}) == (seen.latency.count, dict(seen.errors))
