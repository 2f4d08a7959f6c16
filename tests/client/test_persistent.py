"""The client that stays connected: what it promises about every message, and how it comes back."""

import asyncio
import collections
import itertools
import os
import random
import signal
import socket
import subprocess
import sys

import pytest

import penstock
from penstock import Backoff, Client
from penstock.client import ClientTimeouts
from penstock.codecs import JsonLines
from penstock.errors import ConfigurationError, Phase, QueueFullError, RequestLostError

PATIENCE_S = 20
SOON = Backoff(first_s=0.001, max_s=0.01)


class Lines:
    """One accepted plain socket, as lines."""

    def __init__(self, sock):
        self.sock = sock
        self.data = b""

    async def read(self):
        loop = asyncio.get_running_loop()
        while b"\n" not in self.data:
            more = await loop.sock_recv(self.sock, 65536)
            if not more:
                raise EOFError
            self.data += more
        line, _, self.data = self.data.partition(b"\n")
        return line

    async def write(self, *lines):
        await asyncio.get_running_loop().sock_sendall(self.sock, b"".join(line + b"\n" for line in lines))

    def close(self):
        self.sock.close()


@pytest.fixture
def accept(peer):
    """Accept the next connection by hand."""

    async def take():
        async with asyncio.timeout(PATIENCE_S):
            return Lines(await peer.accept())

    return take


# -- requests and replies ----------------------------------------------------------------------------------------------


async def test_requests_are_pipelined_and_answered_in_order(peer, accept):
    """Many are on the way at once; each gets its own reply."""
    async with Client(peer.address) as client:
        asking = [asyncio.create_task(client.request(b"%d" % number)) for number in range(50)]
        far = await accept()
        lines = [await far.read() for _ in range(50)]
        await far.write(*(b"re " + line for line in lines))
        replies = await asyncio.gather(*asking)
        far.close()

    assert [b"%d" % number for number in range(50)] == lines
    assert [b"re %d" % number for number in range(50)] == replies


class WithIds(JsonLines):
    """Objects that say by themselves what they answer."""

    def request_id(self, message):
        return message["id"]

    def reply_id(self, message):
        return message.get("id")


@pytest.mark.parametrize(
    "ids",
    [
        {
            "codec": "json-lines",
            "request_id": lambda message: message["id"],
            "reply_id": lambda message: message.get("id"),
        },
        {"codec": WithIds()},
    ],
    ids=["functions", "codec"],
)
async def test_replies_by_id_may_come_in_any_order(peer, accept, ids):
    """Two functions say which is whose, or the codec; what is no reply is told apart."""
    news = []
    async with Client(peer.address, on_message=news.append, **ids) as client:
        asking = [asyncio.create_task(client.request({"id": number})) for number in range(3)]
        far = await accept()
        for _ in range(3):
            await far.read()
        await far.write(b'{"id":2,"r":"c"}', b'{"news":1}', b'{"id":0,"r":"a"}', b'{"id":1,"r":"b"}')
        replies = await asyncio.gather(*asking)
        far.close()

    assert ["a", "b", "c"] == [reply["r"] for reply in replies]
    assert [{"news": 1}] == news


async def test_the_reply_to_a_cancelled_request_is_nobodys(peer, accept, tools):
    """It is consumed and dropped: the next request gets its own."""
    async with Client(peer.address) as client:
        first = asyncio.create_task(client.request(b"first"))
        far = await accept()
        await far.read()
        first.cancel()
        await tools.turns()
        second = asyncio.create_task(client.request(b"second"))
        await far.read()
        await far.write(b"reply to first", b"reply to second")
        reply = await second
        far.close()

    assert b"reply to second" == reply
    assert (1, 1) == (client.stats.late, client.stats.replies)


async def test_a_request_cancelled_before_it_was_sent_is_never_sent(accept, peer):
    """Nothing of it reaches the wire."""
    async with Client(peer.address) as client:
        await client.wait_connected()
        far = await accept()
        cancelled = asyncio.create_task(client.request(b"never"))
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.gather(cancelled, return_exceptions=True)
        asking = asyncio.create_task(client.request(b"this"))
        line = await far.read()
        await far.write(b"ok")
        reply = await asking
        far.close()

    assert (b"this", b"ok") == (line, reply)


@pytest.mark.parametrize("steps", range(10))
async def test_cancelling_at_any_turn_mixes_up_no_replies(shout, steps):
    """T-92: every request that is not cancelled gets its own reply, whenever another one is cancelled."""
    async with Client(shout.address) as client:
        await client.request(b"warm")
        for number in range(20):
            cancelled = asyncio.create_task(client.request(b"cancelled"))
            asking = asyncio.create_task(client.request(b"mine %d" % number))
            for _ in range(steps):
                await asyncio.sleep(0)
            cancelled.cancel()
            reply = await asking

            assert b"MINE %d" % number == reply
        await asyncio.gather(cancelled, return_exceptions=True)
        await client.drain(PATIENCE_S)


async def test_a_deadline_says_whether_the_request_was_sent(clock, peer, accept, tools):
    """Phase ``read``: it was, and may have been done. Phase ``connect``: it was not, and will not be."""
    async with Client(peer.address, clock=clock, in_flight_max=1) as client:
        sent = asyncio.create_task(client.request(b"sent", 5.0))
        far = await accept()
        await far.read()
        queued = asyncio.create_task(client.request(b"queued", 5.0))
        await tools.turns()
        clock.advance(5.0)
        errors = await asyncio.gather(sent, queued, return_exceptions=True)
        far.close()

    assert [Phase.READ, Phase.CONNECT] == [error.phase for error in errors]
    assert 1 == client.stats.sent


async def test_a_reply_that_came_in_time_is_read_before_time_is_up(clock, peer, accept):
    """A process that was stopped meanwhile finds it in the kernel."""
    async with Client(peer.address, clock=clock) as client:
        asking = asyncio.create_task(client.request(b"who?", 5.0))
        far = await accept()
        await far.read()
        far.sock.sendall(b"me\n")
        clock.advance(5.0)
        reply = await asking
        far.close()

    assert b"me" == reply


async def test_a_peer_that_owes_only_what_nobody_wants_is_left(clock, peer, accept, tools):
    """When every request in flight was given up and no other can be sent, the connection is of no use."""
    async with Client(peer.address, clock=clock, in_flight_max=2, backoff=SOON) as client:
        given_up = [asyncio.create_task(client.request(b"lost", 1.0)) for _ in range(2)]
        far = await accept()
        await far.read()
        await far.read()
        clock.advance(1.0)
        await asyncio.gather(*given_up, return_exceptions=True)
        asking = asyncio.create_task(client.request(b"alive?"))
        await tools.until(lambda: client.state == "away")
        clock.advance(0.01)
        far = await accept()
        await far.read()
        await far.write(b"yes")
        reply = await asking
        far.close()

    assert b"yes" == reply


async def test_a_message_nobody_asked_for_ends_a_connection_of_ordered_replies(peer, accept, tools):
    """It would be taken for the reply to the next request."""
    async with Client(peer.address, backoff=SOON) as client:
        far = await accept()
        await far.write(b"surprise")
        await tools.until(lambda: client.stats.unexpected)
        far.close()
        far = await accept()
        asking = asyncio.create_task(client.request(b"x"))
        await far.read()
        await far.write(b"y")
        reply = await asking
        far.close()

    assert b"y" == reply


async def test_what_the_codec_refuses_is_the_callers_mistake(shout):
    """It is raised at once, and takes nothing from the others."""
    async with Client(shout.address) as client:
        with pytest.raises(penstock.LocalProtocolError):
            await client.request(b"two\nlines")
        reply = await client.request(b"one")

    assert b"ONE" == reply


# -- coming back -------------------------------------------------------------------------------------------------------


async def test_what_was_not_sent_waits_and_what_was_sent_is_lost_or_asked_again(peer, accept, tools):
    """The connection ends with one marked and one unmarked request on it: each goes its way."""
    async with Client(peer.address, backoff=SOON) as client:
        unmarked = asyncio.create_task(client.request(b"pay"))
        marked = asyncio.create_task(client.request(b"get", idempotent=True))
        far = await accept()
        first = [await far.read(), await far.read()]
        far.close()
        await tools.until(lambda: client.state == "away")
        queued = asyncio.create_task(client.request(b"later"))
        far = await accept()
        second = [await far.read(), await far.read()]
        await far.write(b"got", b"done")
        replies = await asyncio.gather(marked, queued)
        with pytest.raises(RequestLostError):
            await unmarked
        far.close()

    assert [[b"pay", b"get"], [b"get", b"later"]] == [first, second]
    assert [b"got", b"done"] == replies
    assert (1, 1) == (client.stats.lost, client.stats.resent)


async def test_an_idempotent_request_is_not_asked_for_ever(peer, accept):
    """attempts_max connections, then its author is told."""
    async with Client(peer.address, backoff=SOON, attempts_max=2) as client:
        asking = asyncio.create_task(client.request(b"poison", idempotent=True))
        for _ in range(2):
            far = await accept()
            await far.read()
            far.close()
        with pytest.raises(RequestLostError):
            await asking


async def test_hello_runs_first_on_every_connection(peer, accept):
    """Nothing overtakes it, and it sees the connection itself."""

    async def hello(conn):
        assert b"welcome" == await conn.request(b"login")

    async with Client(peer.address, hello=hello, backoff=SOON) as client:
        asking = asyncio.create_task(client.request(b"work", idempotent=True))
        seen = []
        for _ in range(2):
            far = await accept()
            seen.append(await far.read())
            await far.write(b"welcome")
            seen.append(await far.read())
            if len(seen) == 4:
                await far.write(b"done")
                await asking
            far.close()

    assert [b"login", b"work"] * 2 == seen


async def test_a_hello_that_is_refused_is_a_failed_attempt(peer, accept):
    """It backs off and tries again; a hello that is a bug ends the client and is raised."""

    async def hello(conn):
        if await conn.request(b"login") != b"welcome":
            raise penstock.LocalProtocolError("not welcome")

    async with Client(peer.address, hello=hello, backoff=SOON) as client:
        for reply in (b"no", b"welcome"):
            far = await accept()
            await far.read()
            await far.write(reply)
        await client.wait_connected(PATIENCE_S)
        failures = client.stats.failures
        far.close()

    async def bug(conn):
        raise ZeroDivisionError

    broken = Client(peer.address, hello=bug)
    await broken.__aenter__()
    with pytest.raises(penstock.ClosedError):
        await broken.request(b"x")
    with pytest.raises(ZeroDivisionError):
        await broken.close()

    assert 1 == failures


async def test_the_states_are_told(clock, network, tools):
    """Connecting, away for as long as it says, connecting, connected, closed; on the told clock."""
    refused = OSError(111, "refused")
    net = network({"192.0.2.1": refused})
    changes = []
    backoff = Backoff(first_s=1.0, factor=2.0, max_s=60.0)
    async with Client(
        "tcp://host.example:1",
        clock=clock,
        network=net,
        backoff=backoff,
        on_state=changes.append,
        random=lambda: 1.0,
    ) as client:
        for wait_s in (1.0, 2.0, 4.0):
            await tools.until(lambda: client.state == "away")
            clock.advance(wait_s - 0.001)
            await tools.turns()
            tries = len(net.dialled)
            clock.advance(0.001)
            await tools.until(lambda tries=tries: len(net.dialled) > tries)
        net.hosts["192.0.2.1"] = None
        await tools.until(lambda: client.state == "away")
        clock.advance(8.0)
        await client.wait_connected()
        closing = asyncio.create_task(client.close())
        await tools.until(lambda: client.state == "closed")
        net.close()  # the peer's end of the connection, which is waited for
        await closing

    waits = [change.retry_in_s for change in changes if change.retry_in_s is not None]
    assert [1.0, 2.0, 4.0, 8.0] == waits
    assert ["connecting", *["away", "connecting"] * 4, "connected", "closed"] == [change.state for change in changes]
    assert [111] * 4 == [change.error.errno for change in changes if change.state == "away"]
    assert 0 == clock.pending


@pytest.mark.parametrize(("lived_s", "wait_s"), [(5.0, 1.0), (4.9, 4.0)])
async def test_a_connection_that_lived_resets_the_back_off(clock, network, tools, lived_s, wait_s):
    """One that ended sooner counts as another failure."""
    net = network({"192.0.2.1": OSError(111, "refused")})
    changes = []
    backoff = Backoff(first_s=1.0, max_s=60.0, reset_after_s=5.0)
    async with Client(
        "tcp://host.example:1", clock=clock, network=net, backoff=backoff, on_state=changes.append, random=lambda: 1.0
    ) as client:
        await tools.until(lambda: client.state == "away")
        clock.advance(1.0)
        await tools.until(lambda: len(net.dialled) == 2 and client.state == "away")
        net.hosts["192.0.2.1"] = None
        clock.advance(2.0)
        await client.wait_connected()
        clock.advance(lived_s)
        net.far_ends[0].close()
        await tools.until(lambda: client.state == "away")

    assert wait_s == [change for change in changes if change.state == "away"][-1].retry_in_s


async def test_two_hundred_clients_come_back_spread(clock, tools, figure):
    """T-91: all lose the server at the same moment; who comes back when is chance, seeded, on told time."""
    away = True
    dials = collections.Counter()
    began_at = clock.time()

    class Net:
        def __init__(self):
            self.far = None

        async def resolve(self, address, kind):
            return [penstock.client.network.Candidate(socket.AF_INET, kind, ("192.0.2.1", 1))]

        async def dial(self, candidate, options):
            if away:
                raise OSError(111, "refused")
            dials[int(clock.time() - began_at)] += 1
            near, self.far = socket.socketpair()
            near.setblocking(False)
            return near

    chance = random.Random(91)
    nets = [Net() for _ in range(200)]
    clients = [Client("tcp://h.example:1", clock=clock, network=net, random=chance.random) for net in nets]
    for client in clients:
        await client.__aenter__()
    for second in range(60):
        away = second < 20
        for _ in range(10):
            clock.advance(0.1)
            await tools.turns(8)
    connected = sum(client.state == "connected" for client in clients)
    most = max(dials.values())
    for client, net in zip(clients, nets, strict=True):
        closing = asyncio.create_task(client.close())
        await tools.turns(3)
        net.far.close()
        await closing

    assert 200 == connected
    assert 200 == dials.total()
    assert most <= 40
    figure(f"T-91 200 clients, server away 20 s: all back, at most {most} connects/s")


# -- the queue while away ----------------------------------------------------------------------------------------------


def away(network, clock, **options):
    net = network({"192.0.2.1": float("inf")})
    return Client("tcp://host.example:1", clock=clock, network=net, **options)


async def test_a_full_queue_raises_if_it_is_told_to(clock, network):
    """What does not fit is refused, what is in stays."""
    async with away(network, clock, queue_max=2, when_full="raise") as client:
        await client.send(b"1")
        await client.send(b"2")
        with pytest.raises(QueueFullError):
            await client.send(b"3")

    assert 2 == client.stats.dropped


async def test_a_full_queue_gives_up_the_oldest_if_it_is_told_to(clock, network, tools):
    """Whoever waits for the oldest is told."""
    async with away(network, clock, queue_max=2, when_full="drop_oldest") as client:
        oldest = asyncio.create_task(client.request(b"1"))
        await tools.turns()
        await client.send(b"2")
        await client.send(b"3")
        with pytest.raises(QueueFullError):
            await oldest


async def test_a_full_queue_is_waited_for_by_default(peer, accept, tools, clock, network):
    """Senders go on, in their order, when there is room; one whose time runs out has queued nothing."""
    async with Client(peer.address, queue_max=2, in_flight_max=1) as client:
        far = await accept()
        asking = [asyncio.create_task(client.request(b"%d" % number)) for number in range(10)]
        for number in range(10):
            line = await far.read()
            await far.write(line)

            assert b"%d" % number == line
        replies = await asyncio.gather(*asking)
        far.close()
    async with away(network, clock, queue_max=1) as client:
        await client.send(b"1")
        waiting = asyncio.create_task(client.send(b"2", 5.0))
        await tools.turns()
        clock.advance(5.0)
        with pytest.raises(penstock.TimedOutError):
            await waiting

    assert [b"%d" % number for number in range(10)] == replies
    assert 1 == client.stats.dropped


async def test_closing_tells_everybody_and_leaves_nothing(clock, network, tools):
    """Requests raise, no task, timer or descriptor is left, whether it was connected or not."""
    before = tools.books(clock)
    async with away(network, clock) as client:
        asking = asyncio.create_task(client.request(b"x"))
        await tools.turns()
    with pytest.raises(penstock.ClosedError):
        await asking
    with pytest.raises(penstock.ClosedError):
        await client.send(b"y")
    async with away(network, clock):
        pass  # closed before its task has taken a step

    assert before == await tools.books_again(before, clock)


@pytest.mark.parametrize(
    "wrong",
    [
        {"address": "udp://127.0.0.1:1"},
        {"when_full": "explode"},
        {"queue_max": 0},
        {"request_id": len},
        {"codec": "nonsense"},
    ],
)
def test_a_client_that_could_not_work_is_refused(wrong):
    """When it is made."""
    with pytest.raises(ConfigurationError):
        Client(**{"address": "tcp://127.0.0.1:1", **wrong})


# -- a server that is killed -------------------------------------------------------------------------------------------

SERVER = """
import sys, penstock
log = open(sys.argv[2], "a", buffering=1)

@penstock.on_message(codec="lines")
def record(message):
    log.write(message.decode() + "\\n")  # done, and kept by the kernel whatever becomes of this process
    return b"ok " + message

penstock.run(record, bind="tcp://" + sys.argv[1], engine=sys.argv[3])
"""


@pytest.mark.parametrize("engine", ["native", "pure"])
async def test_a_server_killed_and_restarted_loses_and_doubles_nothing(tmp_path, reserve, figure, engine):
    """Acknowledged means done; unmarked means done once at most; marked means done once at least, and acknowledged."""
    if engine == "native":
        pytest.importorskip("penstock.engines.native.engine")
    address = f"127.0.0.1:{reserve()}"
    script, log = tmp_path / "server.py", tmp_path / "log"
    script.write_text(SERVER)
    log.touch()

    def start():
        return subprocess.Popen([sys.executable, script, address, log, engine], stderr=subprocess.DEVNULL)

    acknowledged, lost = [], []
    numbers = itertools.count()
    enough = 3000

    async def ask(client, marked):
        while len(acknowledged) < enough:
            message = b"%s%d" % (b"marked" if marked else b"once", next(numbers))
            try:
                reply = await client.request(message, idempotent=marked)
            except RequestLostError:
                lost.append(message)
            else:
                assert b"ok " + message == reply
                acknowledged.append(message)

    server = start()
    try:
        backoff = Backoff(first_s=0.02, max_s=0.1)
        async with Client(f"tcp://{address}", backoff=backoff, attempts_max=100) as client:
            asking = [asyncio.create_task(ask(client, marked=number % 2 == 0)) for number in range(16)]
            for kill in range(1, 4):
                while len(acknowledged) < kill * enough // 4:
                    done, _ = await asyncio.wait(asking, timeout=0.001)
                    for task in done:
                        task.result()
                os.kill(server.pid, signal.SIGKILL)
                await asyncio.to_thread(server.wait)
                server = start()
            async with asyncio.timeout(PATIENCE_S):
                await asyncio.gather(*asking)
    finally:
        server.kill()
        server.wait()
    times_done = collections.Counter(log.read_bytes().split())

    assert [] == [message for message in acknowledged if not times_done[message]]
    assert [] == [message for message, times in times_done.items() if times > 1 and message.startswith(b"once")]
    assert [] == [message for message in lost if message.startswith(b"marked")]
    assert 4 == client.stats.connects
    again = sum(times > 1 for times in times_done.values())
    figure(
        f"T-91 {engine} server killed 3 times under 16 requests at once: {len(acknowledged)} acknowledged, "
        f"0 of them lost; unmarked: 0 twice, {len(lost)} raised; marked: {again} twice, 0 raised"
    )


async def test_it_says_so_when_its_timeouts_are_for_requests(clock, peer, accept, tools):
    """``read_s`` is each request's; an idle connection is kept however long nothing comes."""
    async with Client(peer.address, clock=clock, timeouts=ClientTimeouts(read_s=5.0)) as client:
        far = await accept()
        await client.wait_connected()
        clock.advance(1000.0)
        await tools.turns()
        state = client.state
        asking = asyncio.create_task(client.request(b"x"))
        await far.read()
        clock.advance(5.0)
        with pytest.raises(penstock.TimedOutError):
            await asking
        far.close()

    assert "connected" == state
