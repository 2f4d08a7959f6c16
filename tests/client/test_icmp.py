"""ICMP echo: on ping sockets, on raw ones, and without the right."""

import errno
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

import penstock
from penstock.client import icmp
from penstock.errors import ConnectError


def refuse(monkeypatch, *kinds):
    """Have the system refuse ICMP sockets of some kinds."""
    real = socket.socket

    class Refusing(real):
        def __init__(self, family=-1, type=-1, proto=-1, fileno=None):  # noqa: A002
            if proto in (socket.IPPROTO_ICMP, socket.IPPROTO_ICMPV6) and type in kinds:
                raise PermissionError(errno.EPERM, "Operation not permitted")
            super().__init__(family, type, proto, fileno)

    monkeypatch.setattr(socket, "socket", Refusing)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
@pytest.mark.parametrize("kinds", [[], [socket.SOCK_DGRAM]], ids=["as-permitted", "raw"])
async def test_what_is_sent_comes_back(monkeypatch, host, kinds):
    """Every payload, whichever socket this process may have; several at once, in order."""
    refuse(monkeypatch, *kinds)
    try:
        conn = await penstock.connect(f"raw+icmp://{host}", codec="raw")
    except ConnectError as error:
        if error.errno not in (errno.EPERM, errno.EACCES):
            raise
        pytest.skip("this process may not speak ICMP")
    async with conn:
        for payload in (b"", b"odd", bytes(range(256))):
            await conn.send(payload)
        replies = [await conn.receive(20) for _ in range(3)]

    assert [b"", b"odd", bytes(range(256))] == replies


async def test_without_the_right_it_says_what_is_needed(monkeypatch, tools):
    """In one sentence, with the system's number, and nothing is left open."""
    refuse(monkeypatch, socket.SOCK_DGRAM, socket.SOCK_RAW)
    before = tools.books()
    with pytest.raises(ConnectError, match="CAP_NET_RAW") as caught:
        await penstock.connect("raw+icmp://127.0.0.1")

    assert errno.EPERM == caught.value.errno
    assert before == await tools.books_again(before)


@given(st.binary(max_size=200))
def test_a_packet_with_its_checksum_sums_to_zero(payload):
    """RFC 1071: which is how the receiver checks it."""
    packet = bytes([8, 0, 0, 0]) + payload
    summed = icmp.checksum(packet).to_bytes(2, "big")
    whole = packet[:2] + summed + packet[4:]

    assert 0 == icmp.checksum(whole)
