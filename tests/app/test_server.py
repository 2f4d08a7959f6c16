"""The life of an application: opened, served, drained, closed, each once and in order, whatever comes in between."""

import asyncio
import contextlib
import gc
import logging
import os

import pytest

import penstock
from penstock.app.server import AppServer
from penstock.core.events import TaskFailed
from penstock.errors import ApplicationError, BindError, ConfigurationError, ExitStatus, StoppedError
from penstock.server.sockets import open_listeners
from penstock.testing.certificates import server_certificate


def make(told=None, **options):
    """An application of two services, which tells when a lifespan is opened and closed."""
    told = [] if told is None else told
    app = penstock.App(**options)

    for name in ("first", "second"):

        async def lifespan(name=name):
            told.append(f"open {name}")
            yield
            told.append(f"close {name}")

        app.lifespan(lambda lifespan=lifespan: lifespan())

    @app.on_message(bind="tcp://127.0.0.1:0")
    def echo(message: bytes) -> bytes:
        return message

    @app.on_message(bind="tcp://127.0.0.1:0", drain_after="echo")
    def admin(conn, message: bytes) -> bytes:
        return b"%d" % len(conn.app.server.connections)

    return app


LIFE = ["open first", "open second", "close second", "close first"]


async def ask(server, name, message):
    async with await penstock.connect(server.servers[name].addresses[0]) as conn:
        return await conn.request(message)


async def test_lifespans_are_opened_in_order_and_closed_in_reverse():
    """Around all that is served; every service answers, and knows its application and its server."""
    told = []
    app = make(told)
    async with penstock.serve(app) as server:
        told.append(await ask(server, "echo", b"hello"))
        told.append(await ask(server, "admin", b"?"))

        assert app.server is server

    assert [*LIFE[:2], b"hello", b"1", *LIFE[2:]] == told
    assert (None, ExitStatus.OK) == (app.server, server.status)


async def test_an_application_can_be_served_again():
    """One life after the other, and not two at once."""
    told = []
    app = make(told)
    async with app.serve() as server:
        with pytest.raises(ApplicationError, match="is being served already"):
            await app.serve().start()
        assert b"still" == await ask(server, "echo", b"still")
    async with app.serve():
        pass

    assert LIFE * 2 == told


async def test_a_lifespan_that_fails_at_the_start_closes_those_before_it():
    """Nothing listens, and one error says why."""
    told = []
    app = make(told)

    @app.lifespan
    async def broken():
        raise ValueError("no database")
        yield

    server = app.serve()
    with pytest.raises(ApplicationError, match=r"the lifespan broken .* failed: ValueError: no database"):
        await server.start()

    assert (LIFE, [], None) == (told, list(server.addresses), app.server)


async def test_an_address_that_is_taken_closes_what_was_opened():
    """The service that listened already does so no longer."""
    told = []
    app = make(told)
    async with penstock.serve(lambda message: message, bind="tcp://127.0.0.1:0") as other:
        server = app.serve(services={"admin": {"bind": other.addresses[0]}})
        with pytest.raises(BindError):
            await server.start()

    assert (LIFE, []) == (told, list(server.addresses))


@pytest.mark.parametrize("names", [["tls_cert"], ["tls_dev"], ["tls_cert", "tls_client_ca"]], ids="-".join)
def test_a_certificate_that_no_address_shows_is_refused(names):
    """TLS was meant, and all would be served in clear. What all were given is shown at one address at least."""
    options = {name: True if name == "tls_dev" else server_certificate() for name in names}
    secured = {"bind": "tcp://127.0.0.1:0?tls=start"}
    for refused in (options, {"services": {"echo": options, "admin": secured}}):
        with pytest.raises(ConfigurationError, match="no address speaks TLS: tcp"):
            make().serve(**refused).check()
    for taken in ({**options, "services": {"admin": secured}}, {"services": {"echo": {**options, **secured}}}):
        make().serve(**taken).check()
    with pytest.raises(ConfigurationError, match="there is a tls_client_ca, and no address speaks TLS"):
        make().serve(tls_client_ca=server_certificate()).check()


async def test_what_cannot_be_served_is_refused_before_anything_is_opened():
    """A coroutine in a thread; a service without an address."""
    told = []
    app = make(told)

    @app.on_connection(name="third")
    async def third(conn):
        """Say nothing."""

    with pytest.raises(ConfigurationError, match="the service third has no address"):
        await app.serve().start()
    with pytest.raises(ConfigurationError, match="third is async"):
        await app.serve(services={"third": {"bind": "tcp://127.0.0.1:0", "model": "threads"}}).start()

    assert [] == told


async def test_a_failure_at_the_end_is_logged_and_the_others_are_closed(caplog):
    """With its traceback; the status says that something failed."""
    told = []
    app = make(told)

    @app.lifespan
    async def broken():
        yield
        raise ValueError("disk full")

    async with app.serve() as server:
        pass
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]

    assert LIFE == told
    assert "failed at the end: ValueError: disk full" in record.getMessage()
    assert record.exc_info is not None
    assert ExitStatus.FAILED == server.status


async def test_told_to_stop_while_a_lifespan_opens_it_closes_what_was_opened():
    """Whatever the one that is being opened waits for: it is cancelled, and was never open."""
    told = []
    app = make(told)
    opening = asyncio.Event()

    @app.lifespan
    async def slow():
        opening.set()
        try:
            await asyncio.Event().wait()
        finally:
            told.append("gave up")
        yield
        told.append("never")

    server = app.serve()
    start = asyncio.ensure_future(server.start())
    await opening.wait()
    server.begin_drain()
    server.begin_drain()
    with pytest.raises(StoppedError):
        await start

    assert [*LIFE[:2], "gave up", *LIFE[2:]] == told


@pytest.mark.parametrize("end", ["begin_drain", "begin_stop"])
async def test_told_to_stop_before_its_start_it_opens_nothing(end):
    """It is not forgotten; nobody waits."""
    told = []
    server = make(told).serve()
    getattr(server, end)()
    await server.wait_stopped()
    with pytest.raises(StoppedError, match="was told to stop before it served"):
        await server.start()

    assert [] == told


async def test_told_to_stop_before_its_first_step_it_opens_nothing():
    """Between the start and the loop's next turn."""
    told = []
    server = make(told).serve()
    start = asyncio.ensure_future(server.start())
    asyncio.get_running_loop().call_soon(server.begin_drain)
    with pytest.raises(StoppedError):
        await start

    assert told in ([], LIFE)


async def test_one_that_goes_on_when_it_is_cancelled_is_closed():
    """It was opened after all."""
    told = []
    app = make(told)
    opening = asyncio.Event()

    @app.lifespan
    async def stubborn():
        opening.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        yield
        told.append("close stubborn")

    server = app.serve()
    start = asyncio.ensure_future(server.start())
    await opening.wait()
    server.begin_stop()
    with pytest.raises(StoppedError):
        await start

    assert [*LIFE[:2], "close stubborn", *LIFE[2:]] == told


async def test_a_start_that_is_cancelled_leaves_nothing():
    """As with ``asyncio.timeout`` around it."""
    told = []
    app = make(told)
    opening = asyncio.Event()

    @app.lifespan
    async def slow():
        opening.set()
        await asyncio.Event().wait()
        yield

    start = asyncio.ensure_future(app.serve().start())
    await opening.wait()
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start

    assert (LIFE, None) == (told, app.server)


async def test_a_task_group_may_span_the_yield():
    """A lifespan is left in the task that entered it, whoever tells it to end."""
    app = make()
    done = []

    @app.lifespan
    async def group():
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(asyncio.sleep(0))
            yield
        done.append(True)

    server = app.serve()
    await asyncio.create_task(server.start())
    await asyncio.create_task(server.drain())

    assert [True] == done


async def spanning_timeout(entered):
    """A lifespan whose timeout is over once a handler was entered."""
    async with asyncio.timeout(None) as limit:

        async def expire():
            await entered.wait()
            limit.reschedule(0)

        task = asyncio.create_task(expire())
        yield
    await task


async def spanning_group(entered):
    """A lifespan one of whose tasks fails once a handler was entered."""

    async def poll():
        await entered.wait()
        raise ValueError("poll failed")

    async with asyncio.TaskGroup() as tasks:
        yield tasks.create_task(poll())


@pytest.mark.parametrize("spanning", [spanning_timeout, spanning_group])
async def test_a_lifespan_that_cancels_its_yield_ends_the_application_in_order(spanning, caplog):
    """A timeout or a task group around the yield: connections drain, the log says it in one line, and it has failed."""
    told = []
    app = make(told)
    entered = asyncio.Event()

    @app.on_message(bind="tcp://127.0.0.1:0")
    async def slow(message: bytes) -> bytes:
        entered.set()
        while not app.server.has_failed:
            await asyncio.sleep(0)
        return message

    app.lifespan(lambda: spanning(entered))
    server = app.serve()
    await server.start()
    answer = await ask(server, "slow", b"hello")
    await server.wait_stopped()
    lines = [record.getMessage() for record in caplog.records if "ended the application" in record.getMessage()]

    assert ["a lifespan ended the application: it cancelled the task that lifespans run in"] == lines
    assert b"hello" == answer
    assert (LIFE, ExitStatus.FAILED, 0) == (told, server.status, server.cut_off)


def serve_and_return(app):
    """A program that returns while it serves."""

    async def main():
        await app.serve().start()

    asyncio.run(main())


def refuse_when_ready(app):
    """A program whose ``on_ready`` fails."""

    def on_ready(_server):
        raise ValueError("not ready")

    with pytest.raises(ValueError, match="not ready"):
        penstock.run(app, on_ready=on_ready)


def exit_from_a_callback(app):
    """A program that exits in a callback of the loop."""

    def leave():
        raise SystemExit(5)

    with pytest.raises(SystemExit):
        penstock.run(app, on_ready=lambda _: asyncio.get_running_loop().call_soon(leave))


@pytest.mark.parametrize("program", [serve_and_return, refuse_when_ready, exit_from_a_callback])
@pytest.mark.parametrize("engine", ["pure", "auto", "blocking"])
def test_lifespans_are_closed_when_the_loop_ends(program, engine):
    """However it ends: background tasks end, then what was opened is closed, in reverse."""
    told = []
    app = make(told, engine=engine, shared_gate=False)

    async def work():
        try:
            await asyncio.Event().wait()
        finally:
            told.append("task ended")

    @app.lifespan
    async def start():
        app.task(work())
        await asyncio.sleep(0)
        yield

    program(app)

    assert ([*LIFE[:2], "task ended", *LIFE[2:]], None) == (told, app.server)


async def test_services_drain_in_the_order_that_was_declared():
    """While the first one drains, the one that waits for it still answers."""
    app = penstock.App()
    entered, leave = asyncio.Event(), asyncio.Event()

    @app.on_message(bind="tcp://127.0.0.1:0")
    async def device(message: bytes) -> bytes:
        entered.set()
        await leave.wait()
        return b"done"

    @app.on_message(bind="tcp://127.0.0.1:0", drain_after="device")
    def admin(message: bytes) -> bytes:
        return b"ok"

    async with app.serve() as server:
        at_device = await penstock.connect(server.servers["device"].addresses[0])
        at_admin = await penstock.connect(server.servers["admin"].addresses[0])
        pending = asyncio.ensure_future(at_device.request(b"work"))
        await entered.wait()
        server.begin_drain()
        await at_admin.send(b"status")
        answers = [await at_admin.receive()]
        leave.set()
        answers.append(await pending)
        with pytest.raises(penstock.EndOfStreamError):
            await at_admin.receive()
        for conn in (at_device, at_admin):
            conn.close()
            await conn.wait_closed()

    assert [b"ok", b"done"] == answers


async def test_it_ends_when_every_service_has_ended_by_itself():
    """Then nobody would be served."""
    told = []
    server = make(told).serve()
    await server.start()
    for each in server.servers.values():
        each.begin_drain()
    await server.wait_stopped()

    assert LIFE == told


# -- background tasks --------------------------------------------------------------------------------------------------


async def test_background_tasks_end_before_lifespans_are_closed():
    """They may use what those opened, to their very end."""
    told = []
    app = make(told)

    async def work():
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            told.append("work ended")

    @app.lifespan
    async def start():
        app.task(work())
        yield

    async with app.serve():
        await asyncio.sleep(0)

    assert [*LIFE[:2], "work ended", *LIFE[2:]] == told


async def test_a_failure_of_a_background_task_is_told_once_and_ends_nothing(caplog):
    """As an event and in the log, with the task's name."""
    seen = []

    class Watcher:
        def observe(self, event):
            if isinstance(event, TaskFailed):
                seen.append((event.connection, event.task, str(event.error)))

    async def poll():
        raise RuntimeError("out of luck")

    app = make()
    async with app.serve(observers=[Watcher()]) as server:
        task = app.task(poll(), name="poller")
        while not task.done:
            await asyncio.sleep(0)
        assert b"fine" == await ask(server, "echo", b"fine")
    logged = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]

    assert [(None, "poller", "out of luck")] == seen
    assert ["task poller failed: RuntimeError: out of luck"] == logged


async def test_a_task_that_is_cancelled_before_its_first_step_is_closed(recwarn):
    """Without a word about a coroutine that was never awaited."""

    async def work():
        """Never begun."""

    app = make()
    async with app.serve():
        app.task(work()).cancel()
        app.task(work())

    assert [] == [str(warning.message) for warning in recwarn]


def test_a_task_that_does_not_end_is_told_of_and_given_up(caplog):
    """By name, when the drain's time is over: lifespans are closed, and the loop's end does not wait for it either."""
    told = []
    app = make(told, timeout_drain=0)

    async def stubborn():
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

    @app.lifespan
    async def start():
        app.task(stubborn(), name="stubborn")
        await asyncio.sleep(0)
        yield

    async def main():
        async with app.serve():
            """Drains at once."""

    asyncio.run(main())
    gc.collect()  # asyncio tells of such a task when it is collected: here, not in the log of another test
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("penstock")]
    lines = [line for line in ours if "task" in line]

    assert ["task stubborn failed: TimeoutError: it was cancelled and has not ended: it is given up"] == lines
    assert LIFE == told


@pytest.mark.parametrize("engine", ["pure", "auto", "blocking"])
def test_a_connections_task_that_does_not_end_is_given_up(engine, caplog):
    """The server stops without it."""

    async def stubborn():
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

    @penstock.on_message
    def start(conn, message: bytes) -> bytes:
        conn.task(stubborn(), name="stubborn")
        return message

    async def main():
        server = penstock.serve(start, bind="tcp://127.0.0.1:0", engine=engine, timeout_drain=0)
        await server.start()
        async with await penstock.connect(server.addresses[0]) as conn:
            await conn.request(b"go")
            await server.stop()

    asyncio.run(main())
    gc.collect()  # asyncio tells of such a task when it is collected: here, not in the log of another test
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("penstock")]
    lines = [line for line in ours if "task" in line]

    assert ["task stubborn failed: TimeoutError: it was cancelled and has not ended: it is given up"] == lines


async def test_it_is_too_late_for_a_task_when_the_end_has_begun():
    """In a lifespan, after its yield."""
    refused = []
    app = make()

    async def work():
        """Never begun."""

    @app.lifespan
    async def late():
        yield
        try:
            app.task(work())
        except penstock.ClosedError as error:
            refused.append(str(error))

    async with app.serve():
        pass

    assert ["it is too late for another background task: the end has begun"] == refused


async def test_a_task_can_be_started_from_another_thread():
    """With that thread's context, on the loop."""
    ran = asyncio.Event()

    async def work():
        ran.set()

    app = make()
    async with app.serve():
        await asyncio.to_thread(lambda: app.task(work()))
        await ran.wait()


def test_what_is_no_coroutine_is_refused_as_early_as_a_coroutine():
    """Before the application is served the answer is the same: that it is not."""

    async def work():
        """Given without its parentheses."""

    with pytest.raises(ApplicationError, match="not being served"):
        make().task(work)


async def test_what_is_no_coroutine_is_refused():
    """A function that was not called."""

    async def work():
        """Never begun."""

    app = make()
    async with app.serve():
        with pytest.raises(TypeError, match=r"write task\(work\(\)\), not task\(work\)"):
            app.task(work)


# -- one gate ----------------------------------------------------------------------------------------------------------


async def test_one_gate_counts_the_connections_of_all_services():
    """Who is one too many for it is refused, whichever service he asks for."""
    app = make(shared_gate=True, max_connections=1)
    async with app.serve() as server:
        async with await penstock.connect(server.servers["echo"].addresses[0]) as conn:
            assert b"in" == await conn.request(b"in")
            with pytest.raises(penstock.PenstockError):
                await ask(server, "admin", b"?")
            await server.servers["admin"].wait_until(lambda admin: admin.gate.refused["limit"] == 1)

        assert 1 == len({id(each.gate) for each in server.servers.values()})


async def test_gates_of_their_own_count_apart():
    """As servers that know nothing of each other."""
    app = make(max_connections=1)
    async with app.serve() as server:
        async with await penstock.connect(server.servers["echo"].addresses[0]) as conn:
            assert b"in" == await conn.request(b"in")
            assert b"2" == await ask(server, "admin", b"?")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"max_per_peer": 3}, "echo and admin differ in options of the gate"),
        ({"engine": "blocking"}, "admin is served by the blocking engine, which needs a gate of its own"),
        ({"model": "one-at-a-time"}, "admin serves one connection at a time: its gate is its own"),
    ],
)
async def test_what_one_gate_cannot_do_is_refused(options, problem):
    """Before anything is opened."""
    server = make(shared_gate=True).serve(services={"admin": options})
    with pytest.raises(ConfigurationError, match=problem):
        await server.start()


def test_sockets_that_were_handed_down_are_for_the_services_they_are_called_after(monkeypatch):
    """LISTEN_FDNAMES says which; see sd_listen_fds(3)."""
    app = penstock.App()
    app.add(lambda message: message, name="one")
    app.add(lambda message: message, name="other")
    for name, value in {"LISTEN_FDS": "2", "LISTEN_FDNAMES": "other:one", "LISTEN_PID": str(os.getpid())}.items():
        monkeypatch.setenv(name, value)
    servers = app.serve().servers

    assert {"one": ("fd://4",), "other": ("fd://3",)} == {name: each.config.bind for name, each in servers.items()}


class OtherWorker:
    """A supervisor, as a worker knows it that is not the first one."""

    workers, counts_together, is_first, inherited = 2, True, False, ()

    def __init__(self):
        self.opened, self.counted = [], []
        self.introductions = 0

    async def introduced(self):
        self.introductions += 1

    async def listeners(self, service, addresses, **options):
        self.opened.append(service)
        return open_listeners(addresses, **options)

    async def counts(self, service, most_here, woken):
        self.counted.append(service)


async def test_a_service_that_another_worker_has_is_not_started():
    """The lifespans are opened, the others serve, and the gate that they share is counted as in every worker."""
    told, worker = [], OtherWorker()
    app = make(told, shared_gate=True)
    async with AppServer(app, app.configs({}, {}), supervision=worker, in_one={"echo"}) as server:
        answer = await ask(server, "admin", b"?")

    assert (b"1", ["admin"], ["echo"], LIFE) == (answer, worker.opened, worker.counted, told)


async def test_a_worker_that_has_no_service_lives_until_it_is_told_to_end():
    """It has what lifespans and background tasks do."""
    told, worker = [], OtherWorker()
    app = make(told)
    async with AppServer(app, app.configs({}, {}), supervision=worker, in_one={"echo", "admin"}) as server:
        await asyncio.sleep(0)

        assert ([], [], LIFE[:2]) == (list(server.addresses), worker.opened, told)
        assert 1 == worker.introductions, "its groups and registries are those of all workers"
    assert LIFE == told


async def test_in_one_process_a_service_for_one_worker_is_a_service():
    """It says something of workers only where there are several."""
    app = penstock.App()
    app.add(lambda message: message, name="echo", bind="tcp://127.0.0.1:0", workers=1)
    async with penstock.serve(app) as server:
        assert b"hello" == await ask(server, "echo", b"hello")
    configs = app.configs({}, {})
    found = [AppServer(app, configs, in_one={"echo"}, supervision=each) for each in (None, OtherWorker())]
    assert [False, True] == [each.servers["echo"].is_in_one for each in found]
