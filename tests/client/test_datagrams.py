"""A connected datagram socket as a connection."""

import asyncio
import errno
import socket

import pytest

import penstock
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


async def test_nobody_there_is_an_error_of_that_datagram(far):
    """ECONNREFUSED says so; the connection stays usable, and the next datagram may find somebody."""
    gone = address(far)
    far.close()
    async with await penstock.connect(gone, codec="raw") as conn:
        await conn.send(b"anybody?")
        with pytest.raises(penstock.BrokenError) as caught:
            await conn.receive(20)
        await conn.send(b"still open")

    assert 111 == caught.value.errno


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

    assert before == tools.books()


async def test_only_one_receives(far, tools):
    """Which of two got which datagram could not be told."""
    async with await penstock.connect(address(far)) as conn:
        first = asyncio.create_task(conn.receive())
        await tools.turns()
        with pytest.raises(penstock.LocalProtocolError):
            await conn.receive()
        first.cancel()
