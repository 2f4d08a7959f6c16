"""connect: what it makes, what it says when it cannot, and that it leaves nothing behind."""

import asyncio
import errno
import shutil
import socket
import struct
import subprocess
import sys
import time

import pytest

import penstock
from penstock.client import ClientTimeouts, SocketOptions
from penstock.errors import ConnectTimeoutError, Phase

BLACK_HOLE = float("inf")


# -- what it makes -----------------------------------------------------------------------------------------------------


async def test_a_connection_has_everything_a_conversation_needs(shout):
    """Send, receive, request, iteration, both ends' addresses, a descriptor, EOF, the end."""
    conn = await penstock.connect(shout.address, codec="lines")
    async with conn:
        await conn.send(b"one")
        first = await conn.receive()
        second = await conn.request(b"two")
        local, peer, fd = conn.local, conn.peer, conn.fileno()
        await conn.send(b"three")
        conn.send_eof()
        rest = [message async for message in conn]
    closed_fd = conn.fileno()

    assert [b"ONE", b"TWO", [b"THREE"]] == [first, second, rest]
    assert str(peer) == shout.address.removeprefix("tcp://")
    assert str(local).startswith("tcp://127.0.0.1:")
    assert fd >= 0
    assert -1 == closed_fd


@pytest.mark.parametrize("scheme", ["unix:", "unix+seqpacket:", "unix+dgram:"])
async def test_unix_sockets_of_every_kind(serve, tmp_path, scheme):
    """The same conversation over each."""
    server = serve(penstock.on_message(codec="lines")(bytes.upper), bind=f"{scheme}{tmp_path}/s")
    async with await penstock.connect(server.address, codec="lines") as conn:
        reply = await conn.request(b"hello", 20)

    assert b"HELLO" == reply


async def test_a_name_is_resolved_off_the_loop(shout, monkeypatch):
    """While getaddrinfo(3) waits for a name server the loop goes on."""
    import threading

    asked, go = threading.Event(), threading.Event()
    real = socket.getaddrinfo
    threads = []

    def slow(host, *args, **kwargs):
        if kwargs.get("flags"):
            return real(host, *args, **kwargs)
        threads.append(threading.current_thread())
        asked.set()
        assert go.wait(20)
        return real(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    connecting = asyncio.create_task(penstock.connect(f"tcp://localhost:{shout.port}?family=ipv4"))
    while not asked.is_set():
        await asyncio.sleep(0)  # the loop turns: it is not the loop that waits
    go.set()
    async with await connecting as conn:
        reply = await conn.request(b"x")

    assert b"X" == reply
    assert threading.main_thread() not in threads


async def test_socket_options_are_set_before_connecting(peer):
    """What the kernel says of the socket is what was asked for."""
    options = SocketOptions(
        local="127.0.0.2", nodelay=False, keepalive_s=30, receive_buffer_bytes=8192, send_buffer_bytes=16384
    )
    conn = await penstock.connect(peer.address, options=options)
    far = await peer.accept()
    with socket.socket(fileno=conn.fileno()) as sock:
        found = (
            sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY),
            sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
            sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
            sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF),  # the kernel doubles it: socket(7)
        )
        sock.detach()
    source = far.getpeername()[0]
    conn.abort()
    await conn.wait_closed()

    assert "127.0.0.2" == source
    assert (0, 1, 30, 16384) == found


def _loop_of(name):
    if name == "asyncio":
        return asyncio.SelectorEventLoop
    if name == "uvloop":
        return pytest.importorskip("uvloop").new_event_loop
    return pytest.importorskip("penstock.engines.native.engine").new_event_loop


@pytest.mark.parametrize("name", ["asyncio", "uvloop", "native"])
def test_every_loop_will_do(shout, name):
    """A client asks nothing of its loop but what every loop has."""

    async def talk():
        async with await penstock.connect(shout.address) as conn:
            one = await conn.request(b"one")
        async with penstock.Client(shout.address) as client:
            many = await asyncio.gather(*(client.request(b"%d" % number) for number in range(100)))
        async with penstock.Pool(shout.address) as pool:
            lent = [await pool.request(b"x") for _ in range(3)]
        async with await penstock.open_datagrams("udp://127.0.0.1:0") as datagrams:
            await datagrams.send_to(b"to myself", datagrams.local)
            message, _ = await datagrams.receive_from(20)
        return one, many, lent, message

    with asyncio.Runner(loop_factory=_loop_of(name)) as runner:
        said = runner.run(talk())

    assert (b"ONE", [b"%d" % number for number in range(100)], [b"X"] * 3, b"to myself") == said


# -- what it says when it cannot ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "number", "phase", "name"),
    [
        ("tcp://127.0.0.1:{port}", errno.ECONNREFUSED, Phase.CONNECT, "ECONNREFUSED"),
        ("unix:///nowhere/at/all", errno.ENOENT, Phase.CONNECT, "ENOENT"),
        ("tcp://nobody.invalid:80", socket.EAI_NONAME, Phase.RESOLVE, "EAI_NONAME"),
        ("tcp://255.255.255.255:80", errno.ENETUNREACH, Phase.CONNECT, "ENETUNREACH"),
    ],
)
async def test_a_failure_has_fields(reserve, address, number, phase, name):
    """The errno and the phase tell apart what a program has to tell apart; try_connect says the same and raises not."""
    address = address.format(port=reserve())
    with pytest.raises(penstock.ConnectError) as caught:
        await penstock.connect(address)
    result = await penstock.try_connect(address)

    assert (number, phase, address) == (caught.value.errno, caught.value.phase, caught.value.address)
    assert (number, name, phase, None) == (result.errno, result.errno_name, result.phase, result.connection)
    assert (result.connect_s is None) == (phase is Phase.RESOLVE)


async def test_try_connect_gives_the_connection_and_the_times(clock, network):
    """Resolving and connecting are timed apart."""
    net = network({"192.0.2.1": 2.0}, resolve_s=1.0)
    trying = asyncio.create_task(penstock.try_connect("tcp://host.example:1", clock=clock, network=net))
    while not net.dialled:
        await asyncio.sleep(0)
        clock.advance(1.0 if clock.pending == 2 and clock.time() == 1000.0 else 0)
    clock.advance(2.0)
    result = await trying
    result.connection.abort()
    await result.connection.wait_closed()

    assert (0, "OK", None, None) == (result.errno, result.errno_name, result.phase, result.error)
    assert (1.0, 2.0) == (result.resolve_s, result.connect_s)


async def test_a_reset_has_the_systems_error(peer):
    """What the peer did is in ``reason``, what the system said in ``errno``."""
    conn = await penstock.connect(peer.address)
    far = await peer.accept()
    far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    far.close()
    with pytest.raises(penstock.BrokenError) as caught:
        await conn.receive(20)

    assert ("reset", errno.ECONNRESET, None) == (caught.value.reason, caught.value.errno, caught.value.phase)


@pytest.mark.parametrize("address", ["unix:/x?tls=on", "fd://3", "tcp://127.0.0.1:0"])
async def test_what_cannot_be_connected_to_is_a_mistake(address):
    """It is refused before anything is opened."""
    with pytest.raises(penstock.ConfigurationError, match=address[:3]):
        await penstock.connect(address)


async def test_a_source_address_of_another_family_is_a_mistake(shout):
    """Nothing could ever answer."""
    with pytest.raises(penstock.ConfigurationError, match="another family"):
        await penstock.connect(shout.address, options=SocketOptions(local="[::1]"))


# -- time: T-93 --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hosts", "resolve_s", "phase"),
    [({"192.0.2.1": None}, BLACK_HOLE, Phase.RESOLVE), ({"192.0.2.1": BLACK_HOLE}, 3.0, Phase.CONNECT)],
)
@pytest.mark.parametrize("which", ["connect_s", "total_s"])
async def test_one_deadline_covers_resolving_and_connecting(clock, network, tools, hosts, resolve_s, phase, which):
    """T-93: the deadline passes once, whatever is being waited for, and nothing is left open."""
    net = network(hosts, resolve_s=resolve_s)
    before = tools.books(clock)
    timeouts = ClientTimeouts(**{"connect_s": None, which: 10.0})
    connecting = asyncio.create_task(
        penstock.connect("tcp://host.example:1", clock=clock, network=net, timeouts=timeouts)
    )
    await tools.turns()
    clock.advance(3.0)
    await tools.turns()
    clock.advance(6.999)
    await tools.turns()
    early = connecting.done()
    clock.advance(0.001)
    with pytest.raises(ConnectTimeoutError) as caught:
        await connecting

    assert not early
    assert (phase, errno.ETIMEDOUT) == (caught.value.phase, caught.value.errno)
    assert isinstance(caught.value, TimeoutError)
    assert before == await tools.books_again(before, clock)


async def test_the_same_deadline_covers_the_reply(clock, network, tools):
    """T-93: 4 s of resolving and 4 s of connecting leave 2 s of 10 for the reply; then the connection is gone."""
    net = network({"192.0.2.1": 4.0}, resolve_s=4.0)
    connecting = asyncio.create_task(
        penstock.connect(
            "tcp://host.example:1", clock=clock, network=net, timeouts=ClientTimeouts(connect_s=None, total_s=10.0)
        )
    )
    await tools.turns()
    clock.advance(4.0)
    await tools.turns()
    clock.advance(4.0)
    conn = await connecting
    waiting = asyncio.create_task(conn.request(b"anybody?"))
    await tools.turns()
    clock.advance(1.999)
    await tools.turns()
    early = waiting.done()
    clock.advance(0.001)
    with pytest.raises(penstock.TimedOutError) as caught:
        await waiting
    with pytest.raises(penstock.TimedOutError):
        await conn.send(b"still there?")
    await conn.wait_closed()

    assert not early
    assert (Phase.TOTAL, 10.0) == (caught.value.phase, caught.value.timeout_s)
    assert 0 == clock.pending


async def test_a_read_that_times_out_leaves_the_connection_as_it_was(clock, peer, tools):
    """``read_s`` is for each message; the next one is still received."""
    conn = await penstock.connect(peer.address, clock=clock, timeouts=ClientTimeouts(read_s=5.0))
    far = await peer.accept()
    receiving = asyncio.create_task(conn.receive())
    await tools.turns()
    clock.advance(5.0)
    with pytest.raises(penstock.TimedOutError) as caught:
        await receiving
    far.sendall(b"late\n")
    message = await conn.receive()
    conn.abort()

    assert Phase.READ == caught.value.phase
    assert b"late" == message


@pytest.mark.parametrize("options", [{}, {"idle_s": 60.0}], ids=["nobody-blamed", "the-peer-blamed"])
async def test_a_reply_that_came_in_time_is_read_before_time_is_up(clock, peer, tools, options):
    """A process that was stopped meanwhile finds it in the kernel; half a reply is none, and moves no limit."""
    conn = await penstock.connect(peer.address, clock=clock)
    conn.set_timeouts(**options)
    far = await peer.accept()
    asking = asyncio.create_task(conn.request(b"who?", 5.0))
    await tools.turns()
    far.sendall(b"m")
    await tools.turns()
    far.sendall(b"e\n")
    clock.advance(5.0)
    reply = await asking
    asking = asyncio.create_task(conn.receive(5.0))
    await tools.turns()
    clock.advance(4.0)
    far.sendall(b"n")
    await tools.turns()
    far.sendall(b"o")
    clock.advance(1.0)
    with pytest.raises(penstock.TimedOutError):
        await asking
    far.sendall(b"t me\n")
    later = await conn.receive()
    conn.abort()

    assert (b"me", b"not me") == (reply, later)
    assert 0 == clock.pending


async def test_a_peer_that_does_not_read_is_given_up(clock, peer, tools):
    """After ``write_s`` without any progress; the connection is gone, and whoever sends is told in which phase."""
    conn = await penstock.connect(peer.address, clock=clock, timeouts=ClientTimeouts(write_s=5.0))
    await peer.accept()

    async def send_for_ever():
        while True:
            await conn.send(b"x" * 60_000)

    sending = asyncio.create_task(send_for_ever())
    await tools.until(lambda: not conn.can_write)
    clock.advance(4.9)
    await tools.turns()
    still_sending = not sending.done()
    while not sending.done():
        clock.advance(5.0)
        await tools.turns()
    with pytest.raises(penstock.SlowPeerError) as caught:
        await sending
    reason = await conn.wait_closed()

    assert still_sending
    assert ("write_timeout", "write", "write_timeout") == (caught.value.reason, caught.value.phase, reason)


async def test_a_black_hole_raises_at_the_deadline(figure):
    """T-93 with real sockets and the real clock: a full backlog answers no SYN. The figure is how late it was."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0), backlog=0) as hole:
        fillers = []
        for _ in range(8):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(hole.getsockname())
            fillers.append(filler)
        began_at = loop.time()
        with pytest.raises(ConnectTimeoutError) as caught:
            await penstock.connect(f"tcp://127.0.0.1:{hole.getsockname()[1]}", timeouts=ClientTimeouts(connect_s=0.2))
        late_s = loop.time() - began_at - 0.2
        for filler in fillers:
            filler.close()

    assert Phase.CONNECT == caught.value.phase
    figure(f"T-93 black hole: raised {late_s * 1000:.1f} ms after the deadline of 200 ms")


async def test_a_unix_server_that_is_behind_is_waited_for(tmp_path, tools):
    """A full backlog is EAGAIN and nothing under way: asked again until there is room, or until the deadline."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{tmp_path}/s")
        server.listen(0)
        address = f"unix:{tmp_path}/s"
        first = await penstock.connect(address)
        before = tools.books()
        with pytest.raises(ConnectTimeoutError) as caught:
            await penstock.connect(address, timeouts=ClientTimeouts(connect_s=0.02))
        after = await tools.books_again(before)
        connecting = asyncio.create_task(penstock.connect(address))
        await asyncio.sleep(0)
        still_connecting = not connecting.done()
        far = [server.accept()[0]]
        second = await connecting
        far.append(server.accept()[0])
        await second.send(b"hello")
        got = far[1].recv(100)
        for each in (first, second):
            each.abort()
            await each.wait_closed()
        for each in far:
            each.close()

    assert (Phase.CONNECT, before) == (caught.value.phase, after)
    assert still_connecting
    assert b"hello\n" == got


# -- cancellation: T-92 ------------------------------------------------------------------------------------------------


async def _cancelled_after(steps, coroutine):
    """Run a coroutine as a task and cancel it at its n-th await; return whether it got that far."""
    task = asyncio.create_task(coroutine)
    for _ in range(steps):
        if task.done():
            break
        await asyncio.sleep(0)
        time.sleep(0)  # the server is a thread of this process: a loop that never waits would keep it from its work
    reached = not task.done()
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return reached
    return False


async def test_cancelling_at_every_turn_leaves_nothing(shout, tools, figure):
    """T-92: connect, send, receive, close, cancelled at every turn of the loop: descriptors, tasks, threads equal."""

    async def everything():
        conn = None
        try:
            conn = await penstock.connect(shout.address)
            await conn.send(b"one")
            await conn.receive()
            await conn.request(b"two")
            conn.close()
            await conn.wait_closed()
        finally:
            if conn is not None:
                conn.abort()

    await everything()
    shout.wait_connections(0)
    before = tools.books()
    steps = cancelled = 0
    while await _cancelled_after(steps, everything()) or steps < 30:
        steps += 1
        cancelled += 1
        await tools.turns(5)
        assert steps < 100_000
    await tools.turns()
    shout.wait_connections(0)  # the server is in this process: its side of the last connections is closed by now too

    assert before == await tools.books_again(before)
    figure(f"T-92 cancelled at {cancelled} turns of the loop: descriptors, tasks and timers equal")


@pytest.mark.parametrize("steps", range(30))
async def test_cancelling_while_connecting_leaves_nothing(clock, network, tools, steps):
    """T-92 on a told network: resolving, staggering, two attempts at once, each with its timers."""
    net = network({"2001:db8::1": 1.0, "192.0.2.1": 0.5}, resolve_s=0.1)
    before = tools.books(clock)
    task = asyncio.create_task(penstock.connect("tcp://host.example:1", clock=clock, network=net))
    for _ in range(steps):
        await asyncio.sleep(0)
        clock.advance(0.05)
    task.cancel()
    try:
        conn = await task
    except asyncio.CancelledError:
        pass
    else:
        conn.abort()
        await conn.wait_closed()
    net.close()
    await tools.turns()

    assert before == await tools.books_again(before, clock)


async def test_a_cancelled_receive_loses_no_message(shout):
    """The next receive has it."""
    async with await penstock.connect(shout.address) as conn:
        got = []
        for number in range(30):
            await conn.send(b"%d" % number)
            for steps in range(6):
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
                got.append(await conn.receive())

    assert [b"%d" % number for number in range(30)] == got


async def test_a_cancelled_request_leaves_the_connection_to_the_next(peer):
    """Its reply comes all the same, and is the next message; nobody is still waiting in its place."""
    conn = await penstock.connect(peer.address)
    far = await peer.accept()
    asking = asyncio.create_task(conn.request(b"one"))
    assert b"one\n" == await asyncio.get_running_loop().sock_recv(far, 100)
    asking.cancel()
    await asyncio.wait([asking])
    far.sendall(b"the reply to one\n")
    late = await conn.receive()
    far.sendall(b"the reply to two\n")
    reply = await conn.request(b"two")
    conn.abort()
    await conn.wait_closed()

    assert asking.cancelled()
    assert (b"the reply to one", b"the reply to two") == (late, reply)


async def test_a_reply_in_pieces_is_waited_for_whole(peer, tools):
    """Whether the pieces come before the wait or in the middle of it, and with more than was asked for."""
    conn = await penstock.connect(peer.address)
    far = await peer.accept()
    far.sendall(b"fir")
    await tools.until(lambda: 3 == conn.bytes_in)
    asking = asyncio.create_task(conn.request(b"one"))
    assert b"one\n" == await asyncio.get_running_loop().sock_recv(far, 100)
    far.sendall(b"s")
    await tools.until(lambda: 4 == conn.bytes_in)
    far.sendall(b"t\nsecond\nthi")
    first = await asking
    second = await conn.receive()
    far.sendall(b"rd\n")
    third = await conn.receive(20)
    conn.abort()
    await conn.wait_closed()

    assert [b"first", b"second", b"third"] == [first, second, third]


async def test_a_reply_that_is_no_message_breaks_the_request(peer):
    """The peer's fault reaches whoever waits for it."""
    conn = await penstock.connect(peer.address, codec="netstring")
    far = await peer.accept()
    asking = asyncio.create_task(conn.request(b"one"))
    await asyncio.get_running_loop().sock_recv(far, 100)
    far.sendall(b"x:nonsense,")

    with pytest.raises(penstock.RemoteProtocolError):
        await asking
    far.close()
    await conn.wait_closed()


# -- other people's servers --------------------------------------------------------------------------------------------


def _started(*command):
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


async def _connected(address, **options):
    """Connect once the server listens: each refusal is followed by another attempt."""
    async with asyncio.timeout(20):
        while True:
            result = await penstock.try_connect(address, **options)
            if result.connection is not None:
                return result.connection
            if result.errno != errno.ECONNREFUSED:
                raise result.error
            await asyncio.sleep(0)


@pytest.mark.outside
@pytest.mark.parametrize(
    "command",
    [
        ("ncat", "-l", "-k", "127.0.0.1", "{port}", "-e", "/bin/cat"),
        ("socat", "TCP-LISTEN:{port},fork,reuseaddr,bind=127.0.0.1", "EXEC:/bin/cat"),
    ],
    ids=["ncat", "socat"],
)
async def test_an_echo_that_is_not_ours(command, reserve):
    """Lines there and back, and its EOF after ours."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    port = reserve()
    server = _started(*(part.format(port=port) for part in command))
    try:
        async with await _connected(f"tcp://127.0.0.1:{port}", codec="lines") as conn:
            first = await conn.request(b"hello", 20)
            second = await conn.request("déjà vu".encode(), 20)
            conn.send_eof()
            rest = [message async for message in conn]
    finally:
        server.kill()
        server.wait()

    assert (b"hello", "déjà vu".encode(), []) == (first, second, rest)


@pytest.mark.outside
async def test_redis_is_spoken_to(tmp_path, reserve):
    """Its replies come as RESP values, pipelined ones in order."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    port = reserve()
    server = _started("redis-server", "--port", str(port), "--save", "", "--bind", "127.0.0.1", "--dir", str(tmp_path))
    try:
        conn = await _connected(f"tcp://127.0.0.1:{port}", codec="resp")
        async with conn, penstock.Client(f"tcp://127.0.0.1:{port}", codec="resp") as client:
            pong = await conn.request([b"PING"], 20)
            counts = await asyncio.gather(*(client.request([b"INCR", b"n"], 20) for _ in range(100)))
    finally:
        server.kill()
        server.wait()

    assert b"PONG" == pong
    assert list(range(1, 101)) == counts


async def test_an_interpreter_ends_while_a_lookup_hangs():
    """A name server that does not answer keeps nobody from leaving."""
    script = """
import asyncio, socket, threading
import penstock
from penstock.client import ClientTimeouts
real = socket.getaddrinfo
def hang(host, *args, flags=0, **kwargs):
    if flags:
        return real(host, *args, flags=flags, **kwargs)
    threading.Event().wait()
socket.getaddrinfo = hang
async def main():
    try:
        await penstock.connect("tcp://host.example:1", timeouts=ClientTimeouts(connect_s=0.05))
    except penstock.ConnectTimeoutError as error:
        print(error.phase)
asyncio.run(main())
try:
    penstock.connect_sync("tcp://host.example:1", timeouts=ClientTimeouts(connect_s=0.05))
except penstock.ConnectTimeoutError as error:
    print(error.phase)
"""
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", script], capture_output=True, text=True, timeout=40
    )

    assert ("resolve\nresolve\n", "") == (done.stdout, done.stderr)
