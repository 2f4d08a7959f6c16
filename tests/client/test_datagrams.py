"""A connected datagram socket as a connection."""

import asyncio
import errno
import select
import socket

import pytest

import penstock
from penstock.address import Peer
from penstock.client import ClientTimeouts
from penstock.errors import Phase


@pytest.fixture
def far():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(20)
        yield sock


def address(sock):
    return f"udp://127.0.0.1:{sock.getsockname()[1]}"


async def test_one_datagram_is_one_message(far):
    """An empty one too; both ends' addresses are known."""
    async with await penstock.connect(address(far), codec="raw") as conn:
        await conn.send(b"")
        data, name = far.recvfrom(100)
        far.sendto(b"", name)
        reply = await conn.receive(20)
        local, peer = conn.local, conn.peer

    assert (b"", b"") == (data, reply)
    assert f"udp://127.0.0.1:{name[1]}" == str(local)
    assert address(far) == f"udp://{peer}"
    assert -1 == conn.fileno()


async def test_a_cancelled_receive_loses_no_datagram(far):
    """What is waited for is readiness: whoever is cancelled has taken nothing."""
    async with await penstock.connect(address(far), codec="raw") as conn:
        await conn.send(b"hello")
        _, name = far.recvfrom(100)
        got = []
        for number in range(20):
            far.sendto(b"%d" % number, name)
            for steps in range(5):
                task = asyncio.create_task(conn.receive())
                for _ in range(steps):
                    await asyncio.sleep(0)
                task.cancel()
                try:
                    got.append(await task)
                    break
                except asyncio.CancelledError:
                    pass
            else:
                got.append(await conn.receive(20))

    assert [b"%d" % number for number in range(20)] == got


async def test_nobody_there_is_an_error_of_that_datagram(reserve):
    """ECONNREFUSED says so; the connection stays usable, and the next datagram may find somebody."""
    gone = f"udp://127.0.0.1:{reserve()}"
    async with await penstock.connect(gone, codec="raw") as conn:
        await conn.send(b"anybody?")
        with pytest.raises(penstock.DatagramError) as caught:
            await conn.receive(20)
        await conn.send(b"still open")

    assert 111 == caught.value.errno
    assert f"nothing listens on {gone.removeprefix('udp://')}: connection refused" == str(caught.value)


@pytest.mark.parametrize("way", ["send", "try_send"])
async def test_who_listens_now_is_sent_what_is_sent_now(reserve, tools, way):
    """A socket that was refused says so once, instead of sending; nothing is lost by that."""
    host, port = "127.0.0.1", reserve()
    async with await penstock.connect(f"udp://{host}:{port}", codec="raw") as conn:
        await conn.send(b"too early")
        poll = select.poll()
        poll.register(conn.fileno(), select.POLLERR)
        await tools.until(lambda: poll.poll(0))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as late:
            late.bind((host, port))
            late.settimeout(20)
            if way == "send":
                await conn.send(b"now")
            else:
                assert conn.try_send(b"now")

            assert b"now" == late.recv(100)


@pytest.mark.parametrize(
    ("bind", "size", "longest"),
    [
        (("127.0.0.1", 0), 65_508, "over IPv4 it has 65507 at most"),
        (("::1", 0, 0, 0), 65_528, "over IPv6 it has 65527 at most"),
        ("s", 400_000, "this socket sends "),
    ],
    ids=["udp4", "udp6", "unix"],
)
@pytest.mark.parametrize("way", ["connect", "try_send", "connect_sync", "open_datagrams"])
async def test_a_datagram_that_is_too_long_is_its_senders_mistake(tmp_path, bind, size, longest, way):
    """Nothing was sent; the error says how long it may be, and the next one is sent."""
    family = socket.AF_UNIX if bind == "s" else socket.AF_INET6 if len(bind) == 4 else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as far:
        far.bind(f"{tmp_path}/s" if bind == "s" else bind)
        far.settimeout(20)
        name = far.getsockname()
        to = f"unix+dgram:{name}" if bind == "s" else f"udp://{Peer(name, family)}"
        here = f"unix+dgram:{tmp_path}/here" if bind == "s" else f"udp://{Peer(bind, family)}"
        with pytest.raises(penstock.LocalProtocolError) as caught:
            if way == "connect_sync":
                with penstock.connect_sync(to, codec="raw") as conn:
                    try:
                        conn.send(bytes(size))
                    finally:
                        conn.send(b"next")
            elif way == "open_datagrams":
                async with await penstock.open_datagrams(here) as datagrams:
                    try:
                        await datagrams.send_to(bytes(size), to)
                    finally:
                        await datagrams.send_to(b"next", to)
            else:
                async with await penstock.connect(to, codec="raw") as conn:
                    try:
                        await conn.send(bytes(size)) if way == "connect" else conn.try_send(bytes(size))
                    finally:
                        await conn.send(b"next")

        assert b"next" == far.recv(100)
        assert str(caught.value).startswith(f"a datagram of {size} bytes is too long: {longest}")


@pytest.mark.parametrize(
    ("timeouts", "phase"), [({"read_s": 5.0}, Phase.READ), ({"total_s": 5.0, "connect_s": None}, Phase.TOTAL)]
)
async def test_time_runs_out_by_the_clock(clock, far, tools, timeouts, phase):
    """For one datagram, or for all of it together."""
    conn = await penstock.connect(address(far), clock=clock, timeouts=ClientTimeouts(**timeouts))
    receiving = asyncio.create_task(conn.receive())
    await tools.turns()
    clock.advance(4.999)
    await tools.turns()
    early = receiving.done()
    clock.advance(0.001)
    with pytest.raises(penstock.TimedOutError) as caught:
        await receiving
    conn.close()

    assert not early
    assert phase == caught.value.phase
    assert 0 == clock.pending


async def test_a_datagram_that_came_in_time_is_read_before_time_is_up(clock, far, tools):
    """A process that was stopped meanwhile finds it in the kernel."""
    conn = await penstock.connect(address(far), codec="raw", clock=clock)
    await conn.send(b"who?")
    _, near = far.recvfrom(100)
    receiving = asyncio.create_task(conn.receive(5.0))
    await tools.turns()
    far.sendto(b"me", near)
    clock.advance(5.0)
    reply = await receiving
    conn.close()

    assert b"me" == reply
    assert 0 == clock.pending


async def test_half_a_datagram_is_none(tmp_path):
    """T-85: what is longer than a datagram may be is an error of its own, and the next one is received whole."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as far:
        far.bind(str(tmp_path / "far"))
        far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 400_000)
        async with (
            await penstock.connect(f"unix+dgram:{tmp_path}/far", codec="raw") as conn,
            await penstock.open_datagrams(f"unix+dgram:{tmp_path}/near", codec="raw") as near,
        ):
            await conn.send(b"who?")
            _, name = far.recvfrom(100)
            received = []
            for target, receive in ((name, conn.receive), (str(tmp_path / "near"), near.receive_from)):
                for size in (65_536, 65_537):
                    far.sendto(bytes(size), target)
                    try:
                        message = await receive(20)
                        received.append(len(message[0] if isinstance(message, tuple) else message))
                    except penstock.BrokenError as error:
                        received.append(error.errno)

    assert [65_536, errno.EMSGSIZE] * 2 == received


async def test_closing_wakes_whoever_receives(far, tools):
    """With ClosedError, and nothing is left."""
    before = tools.books()
    conn = await penstock.connect(address(far))
    receiving = asyncio.create_task(conn.receive())
    await tools.turns()
    conn.close()
    with pytest.raises(penstock.ClosedError):
        await receiving
    with pytest.raises(penstock.ClosedError):
        await conn.send(b"x")

    assert before == await tools.books_again(before)


async def test_only_one_receives(far, tools):
    """Which of two got which datagram could not be told."""
    async with await penstock.connect(address(far)) as conn:
        first = asyncio.create_task(conn.receive())
        await tools.turns()
        with pytest.raises(penstock.LocalProtocolError):
            await conn.receive()
        first.cancel()
