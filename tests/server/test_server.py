"""A server's life: start, facts, suspend, drain, stop."""

import asyncio
import contextlib
import dataclasses
import socket

import pytest

import penstock
from penstock.config import GateConfig, ServerConfig
from penstock.core.events import EventName
from penstock.errors import BindError, ConfigurationError
from penstock.server.choice import choose
from penstock.server.server import Server
from penstock.server.shared import Shared
from penstock.server.sockets import open_listeners
from penstock.testing.certificates import server_certificate
from penstock.testing.peers import PATIENCE_S


@penstock.on_message(codec="lines")
def echo(message: bytes) -> bytes:
    return message


class Record:
    """An observer that keeps the names of events."""

    def __init__(self):
        self.names = []

    def observe(self, event, /):
        self.names.append(event.name)


async def talk(address, *messages):
    async with await penstock.connect(address, codec="lines") as conn:
        for message in messages:
            await conn.send(message)
        return [await conn.receive() for _ in messages]


async def test_a_server_serves_from_the_start_of_its_block_to_its_end():
    """Port 0 becomes a port; after the block nothing listens there."""
    async with penstock.serve(echo, bind="tcp://127.0.0.1:0", engine="pure") as server:
        (address,) = server.addresses

        assert [b"a", b"b"] == await talk(address, b"a", b"b")
        assert "pure" == server.engine_name
    with pytest.raises(penstock.ConnectError):
        await penstock.connect(address)

    assert [] == server.addresses


async def test_several_addresses_serve_one_service(tmp_path):
    """Streams, records and datagrams at once."""
    binds = [
        "tcp://127.0.0.1:0",
        "udp://127.0.0.1:0",
        f"unix:{tmp_path}/stream",
        f"unix+dgram:{tmp_path}/dgram",
        f"unix+seqpacket:{tmp_path}/records",
    ]
    async with penstock.serve(echo, bind=binds) as server:
        replies = [await talk(address, b"hello") for address in server.addresses]

    assert [[b"hello"]] * 5 == replies
    assert [] == list(tmp_path.iterdir())


async def test_an_address_that_cannot_be_had_leaves_nothing_open(tmp_path):
    """All or none: what was opened before it is closed and removed again."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = penstock.serve(echo, bind=[f"unix:{tmp_path}/first", f"tcp://127.0.0.1:{port}"])
        with pytest.raises(BindError):
            await server.start()

    assert [] == list(tmp_path.iterdir())


async def test_a_conversation_is_refused_on_an_address_without_connections():
    """Said at the start, in one sentence that says what to use instead."""

    @penstock.on_connection
    async def conversation(conn):
        """Never called."""

    with pytest.raises(ConfigurationError) as caught:
        await penstock.serve(conversation, bind="udp://127.0.0.1:0").start()

    assert (
        "conversation needs connections, and udp://127.0.0.1:0 has none: use tcp://, unix: or "
        "unix+seqpacket:, or write it to keep sessions, with sessions=True" == str(caught.value)
    )


async def test_counts_and_waits_are_facts():
    """`wait_connections` returns when it is so; `stats` has counted it."""
    async with penstock.serve(echo, bind="tcp://127.0.0.1:0") as server:
        conns = [await penstock.connect(server.addresses[0]) for _ in range(3)]
        await server.wait_connections(3)

        assert 3 == server.stats.accepted

        for conn in conns:
            conn.close()
            await conn.wait_closed()
        await server.wait_connections(0)

        assert {"peer_closed": 3} == dict(server.stats.closed)


async def test_a_suspended_server_leaves_new_connections_in_the_backlog():
    """The kernel completes the handshake; the server answers when it is resumed."""
    async with penstock.serve(echo, bind="tcp://127.0.0.1:0") as server:
        server.suspend()
        server.suspend()
        conn = await penstock.connect(server.addresses[0])
        await conn.send(b"waiting")

        assert 0 == server.stats.accepted

        server.resume()

        assert b"waiting" == await conn.receive()

        conn.close()
        await conn.wait_closed()


async def test_events_come_in_the_order_of_a_life():
    """From listening to stopped, each once."""
    record = Record()
    async with penstock.serve(echo, bind="tcp://127.0.0.1:0", observers=[record]) as server:
        await talk(server.addresses[0], b"x")
        await server.wait_until(lambda server: server.stats.closed.total() == 1)

    assert [
        EventName.LISTENING,
        EventName.ACCEPTED,
        EventName.CLOSED,
        EventName.DRAINING,
        EventName.STOPPED,
    ] == record.names


async def test_an_observer_that_raises_harms_nobody(caplog):
    """The connection is served and counted, the other observers are told, and the log says whose fault it was."""

    class Broken:
        def observe(self, event):
            raise ZeroDivisionError(event.name)

    record = Record()
    async with penstock.serve(echo, bind="tcp://127.0.0.1:0", observers=[Broken(), record]) as server:
        reply = await talk(server.addresses[0], b"x")
        await server.wait_until(lambda server: server.stats.closed.total() == 1)
    said = [(r.levelname, r.exc_info[0]) for r in caplog.records if "Broken" in r.getMessage()]

    assert [b"x"] == reply
    assert ["listening", "accepted", "closed", "draining", "stopped"] == record.names
    assert [("ERROR", ZeroDivisionError)] == said


async def test_leaving_the_block_by_an_exception_stops_at_once():
    """Nobody waits for a drain that an error has overtaken."""
    entered = asyncio.Event()

    @penstock.on_connection
    async def stuck(conn):
        entered.set()
        await asyncio.Event().wait()

    server = penstock.serve(stuck, bind="tcp://127.0.0.1:0")
    with pytest.raises(ZeroDivisionError):
        async with server:
            conn = await penstock.connect(server.addresses[0])
            await entered.wait()
            raise ZeroDivisionError

    assert {"stopped": 1} == dict(server.stats.closed)

    conn.abort()
    await conn.wait_closed()


async def test_once_serves_one_message_and_stops():
    """One-to-one: the reply is sent, the connection closed, the server stopped."""
    async with penstock.serve(echo, bind="tcp://127.0.0.1:0", once=True) as server:
        conn = await penstock.connect(server.addresses[0])
        await conn.send(b"first")
        await conn.send(b"second")

        assert [b"first"] == [message async for message in conn]

        conn.close()
        await server.wait_stopped()

    assert {"done": 1} == dict(server.stats.closed)


async def test_a_wrong_option_is_refused_before_anything_is_opened():
    """By name, with what is allowed."""
    with pytest.raises(ConfigurationError):
        penstock.serve(echo, bind="tcp://127.0.0.1:0", backlog=-1)
    with pytest.raises(ConfigurationError, match="did you mean backlog"):
        penstock.serve(echo, bind="tcp://127.0.0.1:0", backlogg=1)


async def test_nobody_waits_for_ever_for_an_end_that_failed(monkeypatch):
    """For want of memory, say: the failure is told, and the end is the end."""
    told = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(repr(context["exception"])))

    def close_listeners(listeners):
        for listener in listeners:
            listener.sock.close()
        raise MemoryError("on purpose")

    server = penstock.serve(echo, bind="tcp://127.0.0.1:0", engine="pure")
    await server.start()
    monkeypatch.setattr("penstock.server.server.close_listeners", close_listeners)
    await server.drain()

    assert ["MemoryError('on purpose')"] == told


async def test_the_gate_is_one_object_and_what_was_set_before_the_start_holds():
    """A program that keeps `server.gate` speaks to the same one before, while and after it serves."""
    server = penstock.serve(echo, bind="tcp://127.0.0.1:0", gate=penstock.GateConfig(max_connections=7))
    gate = server.gate
    gate.set(max_per_peer=2)
    async with server:
        assert (gate, 2, 7) == (server.gate, gate.rules.max_per_peer, gate.rules.max_connections)
    assert gate is server.gate


@pytest.mark.parametrize("engine", ["pure", "native", "blocking"])
async def test_a_listener_at_a_full_gate_is_woken_by_a_descriptor_from_elsewhere(engine):
    """As another process would tell that it has given a place back: the one who waits comes in."""
    if engine == "native":
        pytest.importorskip("penstock.engines.native.engine")
    told, tell = socket.socketpair()
    gate = penstock.GateConfig(max_connections=1, on_refusal=("limit=wait",))
    with told, tell:
        async with penstock.serve(echo, bind="tcp://127.0.0.1:0", engine=engine, gate=gate) as server:
            loop = asyncio.get_running_loop()
            server.gate.counts.enter("another process", 0)
            loop.add_reader(told, lambda: (told.recv(1), server.gate.wake()))
            async with await penstock.connect(server.addresses[0], codec="lines") as conn:  # in the backlog
                assert 0 == server.stats.accepted
                server.gate.counts.leave("another process", 0)
                tell.send(b".")
                await conn.send(b"ping")
                assert b"ping" == await conn.receive()
            loop.remove_reader(told)


async def test_the_engine_is_chosen_once(monkeypatch):
    """However often it is asked which one it is, and by the start."""
    chosen = []
    monkeypatch.setattr("penstock.server.setup.choose", lambda *args: chosen.append(args) or choose(*args))
    server = penstock.serve(echo, bind="tcp://127.0.0.1:0", engine="pure")
    server.check()
    async with server:
        assert ("pure", "asked for", 1) == (server.engine_name, server.engine_reason, len(chosen))


async def test_what_is_reloaded_and_what_was_set_at_the_gate():
    """The configuration changes what it says otherwise than before; what a program has set holds beside it."""
    server = penstock.serve(echo, bind="tcp://127.0.0.1:0", max_connections=7, max_per_peer=3)
    assert ("max_connections",) == await server.reload(ServerConfig(gate=GateConfig(max_connections=8, max_per_peer=3)))
    async with server:
        server.gate.set(max_per_peer=2)
        wanted = ServerConfig(gate=GateConfig(max_connections=9, max_per_peer=3), backlog=5, log_level="debug")

        assert {"max_connections", "log_level"} == set(await server.reload(wanted))
        assert (9, 2) == (server.gate.rules.max_connections, server.gate.rules.max_per_peer)
        assert (9, 3, 1024) == (
            server.config.gate.max_connections,
            server.config.gate.max_per_peer,
            server.config.backlog,
        )
        assert () == await server.reload(wanted)


async def test_a_reload_that_is_refused_changes_nothing(tmp_path):
    """A file of networks that is not there, say."""
    async with penstock.serve(echo, bind="tcp://127.0.0.1:0", max_connections=7) as server:
        before = server.config, server.gate.rules
        with pytest.raises(ConfigurationError, match="cannot be read"):
            await server.reload(ServerConfig(gate=GateConfig(deny=(f"@{tmp_path}/none",), max_connections=8)))

        assert before == (server.config, server.gate.rules)


async def test_a_reload_under_way_at_the_end_leaves_nothing_at_work(monkeypatch, tmp_path):
    """Files are not followed for a server that is no more, in a loop that goes on."""
    pytest.importorskip("trustme")
    (tmp_path / "networks").write_text("127.0.0.1\n")
    allow = GateConfig(allow=(f"@{tmp_path}/networks",))
    before = asyncio.all_tasks()
    server = penstock.serve(echo, bind="tls://127.0.0.1:0", engine="pure", gate=allow, tls_cert=server_certificate())
    read = []

    async def ends(function, name):
        if not read:
            await server.stop()
        read.append(name)
        return function()

    async with server:
        monkeypatch.setattr("penstock.server.server.aside", ends)
        await server.reload(server.config)

    assert ["penstock-networks", "penstock-certificates"] == read
    assert set() == {task for task in asyncio.all_tasks() - before if not task.cancelling()}


async def fails_at_start(work):
    """Start a server that begins a task and then fails; return it, and what it has told."""
    told = Record()

    def begin(server):
        server.start_lasting(work(), "at work")
        raise penstock.ApplicationError("on purpose")

    service = dataclasses.replace(echo, at_start=begin)
    server = penstock.serve(service, bind="tcp://127.0.0.1:0", engine="pure", observers=[told])
    with pytest.raises(penstock.ApplicationError, match="on purpose"):
        await server.start()
    return server, told.names


async def test_a_start_that_fails_does_not_wait_for_ever_for_a_task_that_ignores_its_end(monkeypatch):
    """It is given up after a time, and told of, as at the end of a server."""
    monkeypatch.setattr("penstock.server.background.CLEAN_UP_S", 0.01)
    ends, ended = asyncio.Event(), asyncio.Event()

    async def stubborn():
        while not ends.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await ends.wait()
        ended.set()

    _, told = await fails_at_start(stubborn)
    assert [EventName.TASK_FAILED] == told
    ends.set()
    await ended.wait()


async def test_a_start_that_fails_and_is_cancelled_then_leaves_its_task_to_end_by_itself():
    """Its end, later, is told to nobody who has left."""
    loop, ends = asyncio.get_running_loop(), asyncio.Event()
    ended, told = [], []
    loop.set_exception_handler(lambda _loop, context: told.append(repr(context)))

    async def slow():
        try:
            await ends.wait()
        except asyncio.CancelledError:
            starting.cancel()
            await ends.wait()
            ended.append(True)

    starting = loop.create_task(fails_at_start(slow))
    with pytest.raises(asyncio.CancelledError):
        await starting
    ends.set()
    while not ended:
        await asyncio.sleep(0)

    await asyncio.sleep(0)
    assert [] == told


async def test_nobody_waits_for_the_end_of_a_server_whose_start_has_failed():
    """There will be none."""
    server, _ = await fails_at_start(lambda: asyncio.sleep(600))
    await server.wait_stopped()

    assert [] == server.addresses


@pytest.mark.parametrize("end", ["begin_drain", "begin_stop"])
async def test_told_to_end_before_its_start_it_opens_nothing(end):
    """It is not forgotten; nobody waits."""
    server = penstock.serve(echo, bind="tcp://127.0.0.1:0")
    getattr(server, end)()
    await server.wait_stopped()
    with pytest.raises(penstock.StoppedError, match="was told to stop before it served"):
        await server.start()

    assert [] == server.addresses


@pytest.mark.parametrize("engine", ["pure", "native", "blocking"])
async def test_suspended_before_its_start_it_leaves_new_connections_in_the_backlog(engine):
    """Until it is resumed."""
    server = penstock.serve(echo, bind="tcp://127.0.0.1:0", engine=engine)
    server.suspend()
    async with server:
        conn = await penstock.connect(server.addresses[0])
        await conn.send(b"waiting")
        await asyncio.sleep(0)

        assert 0 == server.stats.accepted

        server.resume()

        assert b"waiting" == await conn.receive()

        conn.close()
        await conn.wait_closed()


async def test_a_server_that_is_told_to_end_while_it_starts_does_not_serve():
    """The start is refused, and the end that somebody waits for has come."""
    ends = []

    def end(server):
        ends.append(asyncio.ensure_future(server.drain()))
        server.begin_drain()

    server = penstock.serve(dataclasses.replace(echo, at_start=end), bind="tcp://127.0.0.1:0", engine="pure")
    with pytest.raises(penstock.StoppedError, match="was told to stop before it served"):
        await server.start()
    await asyncio.wait_for(asyncio.gather(*ends, server.wait_stopped()), PATIENCE_S)

    assert [] == server.addresses


class SlowSupervisor:
    """A supervisor, as a worker knows it that waits for one of its answers."""

    workers, counts_together, is_first, inherited = 2, True, True, ()

    def __init__(self, slow):
        self.slow = slow
        self.asked = asyncio.Event()
        self.answers = asyncio.Event()

    async def answer(self, what):
        if what == self.slow:
            self.asked.set()
            await self.answers.wait()

    async def listeners(self, service, addresses, **options):
        await self.answer("listeners")
        return open_listeners(addresses, **options)

    async def counts(self, service, most_here, woken):
        await self.answer("counts")


@pytest.mark.parametrize("slow", ["listeners", "counts"])
@pytest.mark.parametrize("end", ["begin_drain", "begin_stop"])
async def test_told_to_end_while_it_waits_for_its_supervisor_it_does_not_serve(slow, end):
    """It is not forgotten, and what the supervisor has opened for it is closed."""
    supervisor = SlowSupervisor(slow)
    alone = penstock.serve(echo, bind="tcp://127.0.0.1:0")
    server = Server(alone.service, alone.config, shared=Shared(supervision=supervisor))
    starting = asyncio.create_task(server.start())
    await supervisor.asked.wait()
    getattr(server, end)()
    supervisor.answers.set()
    with pytest.raises(penstock.StoppedError, match="was told to stop before it served"):
        await starting
    await asyncio.wait_for(server.wait_stopped(), PATIENCE_S)

    assert [] == server.addresses
