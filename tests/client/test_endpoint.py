"""Unconnected datagrams: to anybody, from anybody, groups and broadcast."""

import asyncio
import errno
import socket

import pytest

import penstock
from penstock.client import SocketOptions
from penstock.errors import ConfigurationError, ConnectError


async def test_whoever_sent_can_be_answered():
    """The sender of a datagram is an address to send to; so is text."""
    async with (
        await penstock.open_datagrams("udp://127.0.0.1:0") as one,
        await penstock.open_datagrams("udp://127.0.0.1:0") as other,
    ):
        await one.send_to(b"hello", str(other.local))
        message, sender = await other.receive_from(20)
        await other.send_to(message + b"!", sender)
        reply, who = await one.receive_from(20)

    assert b"hello!" == reply
    assert str(other.local) == f"udp://{who}"


async def test_unix_datagrams(tmp_path):
    """By path, and by a name in the kernel."""
    async with (
        await penstock.open_datagrams(f"unix+dgram:{tmp_path}/one") as one,
        await penstock.open_datagrams("unix+dgram://@penstock-test-other") as other,
    ):
        await other.send_to(b"hello", f"unix+dgram:{tmp_path}/one")
        message, sender = await one.receive_from(20)
        await one.send_to(b"back", sender)
        reply, _ = await other.receive_from(20)

    assert (b"hello", b"back") == (message, reply)


def _routed_interface(group):
    """An interface that the system sends IPv6 multicast through: the loopback often has no route for it."""
    for index, name in socket.if_nameindex():
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((group, 9, 0, index))
            except OSError:
                continue
            return name
    pytest.skip("no interface has a route for IPv6 multicast")


@pytest.mark.parametrize(
    ("local", "group", "interface"),
    [("udp://0.0.0.0:0", "239.255.77.1", "127.0.0.1"), ("udp://[::]:0", "ff11::77:1", None)],
)
async def test_who_joined_a_group_hears_it_until_leaving(local, group, interface):
    """Multicast that does not leave this machine, both families."""
    interface = interface or _routed_interface(group)
    options = SocketOptions(multicast_interface=interface)
    async with (
        await penstock.open_datagrams(local) as hearer,
        await penstock.open_datagrams(local, options=options) as sender,
    ):
        where = f"udp://[{group}]" if ":" in group else f"udp://{group}"
        to = f"{where}:{hearer.local.port}"
        hearer.join(group, interface)
        await sender.send_to(b"heard", to)
        message, _ = await hearer.receive_from(20)
        hearer.leave(group, interface)
        with pytest.raises(penstock.BrokenError):
            hearer.leave(group, interface)

    assert b"heard" == message


@pytest.mark.parametrize("group", ["127.0.0.1", "ff15::1", "nonsense"])
async def test_what_is_no_group_cannot_be_joined(group):
    """An address of one machine, or a group of the other family."""
    async with await penstock.open_datagrams() as datagrams:
        with pytest.raises(ConfigurationError, match="not a multicast group"):
            datagrams.join(group)


async def test_broadcast_has_to_be_asked_for():
    """EACCES without, and what leaves with it reaches this machine's own socket."""
    async with await penstock.open_datagrams() as plain:
        with pytest.raises(penstock.BrokenError) as caught:
            await plain.send_to(b"x", f"udp://127.255.255.255:{plain.local.port}")
    async with await penstock.open_datagrams(options=SocketOptions(broadcast=True)) as loud:
        await loud.send_to(b"all", f"udp://127.255.255.255:{loud.local.port}")
        message, _ = await loud.receive_from(20)

    assert errno.EACCES == caught.value.errno
    assert b"all" == message


async def test_a_port_is_shared_only_if_both_say_so():
    """Else the second is told that it is in use."""
    async with await penstock.open_datagrams("udp://127.0.0.1:0", share_port=True) as one:
        with pytest.raises(ConnectError) as caught:
            await penstock.open_datagrams(one.local)
        async with await penstock.open_datagrams(one.local, share_port=True) as other:
            same = other.local

    assert errno.EADDRINUSE == caught.value.errno
    assert one.local == same


@pytest.mark.parametrize("to", ["tcp://127.0.0.1:1", "udp://[::1]:1"])
async def test_what_the_socket_cannot_reach_is_a_mistake(to):
    """Another scheme, another family."""
    async with await penstock.open_datagrams() as datagrams:
        with pytest.raises(ConfigurationError):
            await datagrams.send_to(b"x", to)


async def test_a_full_send_buffer_is_waited_for(tmp_path, tools):
    """A Unix datagram socket whose reader is slow: every sender waits its turn, none is lost."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as reader:
        reader.bind(f"{tmp_path}/r")
        reader.setblocking(False)
        async with await penstock.open_datagrams("unix+dgram://@penstock-test-fast") as sender:
            to = f"unix+dgram:{tmp_path}/r"
            sending = [asyncio.create_task(sender.send_to(b"%d" % number, to)) for number in range(200)]
            await tools.turns()
            waited = sum(not task.done() for task in sending)
            got = set()
            while len(got) < 200:
                try:
                    got.add(int(reader.recv(100)))
                except BlockingIOError:
                    await asyncio.sleep(0)
            await asyncio.gather(*sending)

    assert waited
    assert set(range(200)) == got


async def test_closing_leaves_nothing(tools):
    """Whoever receives is told."""
    before = tools.books()
    datagrams = await penstock.open_datagrams()
    receiving = asyncio.create_task(datagrams.receive_from())
    await tools.turns()
    datagrams.close()
    with pytest.raises(penstock.ClosedError):
        await receiving
    with pytest.raises(penstock.ClosedError):
        await datagrams.send_to(b"x", "udp://127.0.0.1:9")

    assert before == await tools.books_again(before)
