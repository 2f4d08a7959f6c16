"""The selector as asyncio uses it: what is not the engine's comes back as with any other selector."""

import asyncio
import os
import resource
import selectors
import signal
import socket
import threading

import pytest

import penstock
from penstock.config.overload import OverloadConfig
from penstock.engines.native.engine import new_event_loop
from penstock.engines.native.polling.attached import AttachedPoller
from penstock.engines.native.polling.selector import NativeSelector
from penstock.load.native.loop import LoadLoop


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


@pytest.fixture
def selector():
    with NativeSelector() as selector:
        yield selector


def run(main):
    """Run a coroutine in a loop of the engine's."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(main)


def test_it_is_a_selector(selector):
    assert isinstance(selector, selectors.BaseSelector)


def test_what_is_ready_comes_back_with_its_key(selector, pair):
    ours, theirs = pair
    key = selector.register(ours, selectors.EVENT_READ, "data")
    assert [] == selector.select(0)
    theirs.send(b"x")

    assert [(key, selectors.EVENT_READ)] == selector.select()


def test_a_descriptor_is_registered_once(selector, pair):
    selector.register(pair[0], selectors.EVENT_READ)

    with pytest.raises(KeyError, match="already registered"):
        selector.register(pair[0], selectors.EVENT_READ)


def test_events_are_modified(selector, pair):
    selector.register(pair[0], selectors.EVENT_READ)
    key = selector.modify(pair[0], selectors.EVENT_READ | selectors.EVENT_WRITE, "new")

    assert [(key, selectors.EVENT_WRITE)] == selector.select()
    assert "new" == selector.get_key(pair[0]).data


def test_a_descriptor_that_was_closed_is_unregistered_by_its_object(selector):
    ours, theirs = socket.socketpair()
    selector.register(ours, selectors.EVENT_READ)
    ours.close()
    theirs.close()
    selector.unregister(ours)

    assert 0 == len(selector.get_map())


@pytest.mark.parametrize("events", [0, 4, 1 << 20])
def test_events_that_do_not_exist_are_refused(selector, pair, events):
    with pytest.raises(ValueError, match="invalid events"):
        selector.register(pair[0], events)


def test_a_closed_selector_has_no_map(pair):
    selector = NativeSelector()
    selector.close()

    assert selector.get_map() is None


def test_a_loop_does_all_that_a_loop_does():
    """Subprocesses, threads, timers, signals and other sockets, while a server of the engine's serves."""

    @penstock.on_message
    async def handle(message: bytes) -> bytes:
        await asyncio.sleep(0.001)
        process = await asyncio.create_subprocess_exec("echo", message.decode(), stdout=asyncio.subprocess.PIPE)
        said, _ = await process.communicate()
        return await asyncio.get_running_loop().run_in_executor(None, said.strip)

    async def main():
        loop = asyncio.get_running_loop()
        signalled = asyncio.Event()
        loop.add_signal_handler(signal.SIGUSR1, signalled.set)
        async with penstock.serve(handle, bind="tcp://127.0.0.1:0", engine="native") as server:
            host, _, port = server.addresses[0].removeprefix("tcp://").rpartition(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"one\ntwo\n")
            replies = [await reader.readline(), await reader.readline()]
            os.kill(os.getpid(), signal.SIGUSR1)
            await signalled.wait()
            told = loop.create_future()
            threading.Thread(target=lambda: loop.call_soon_threadsafe(told.set_result, "told")).start()
            writer.close()
            return replies, await told

    assert ([b"one\n", b"two\n"], "told") == run(main())


@pytest.mark.parametrize("steps", [1, 2])
def test_a_step_that_fails_over_a_lack_of_memory_is_taken_again(steps):
    """asyncio may notice a MemoryError late, and fail with another error: nobody would resume the task."""

    class Unawaitable:
        _asyncio_future_blocking = True

        def get_loop(self):
            raise RuntimeError("what failed before shows here") from MemoryError()

    class Await:
        def __await__(self):
            yield Unawaitable()
            return "resumed"

    async def main():
        loop = asyncio.get_running_loop()
        reported = []
        loop.set_exception_handler(lambda loop, context: reported.append(context["exception"]))
        for _ in range(steps - 1):
            await asyncio.sleep(0)  # the first step of a task is called in another way than the others
        return await Await(), list(map(str, reported))

    assert ("resumed", ["what failed before shows here"]) == run(main())


def test_a_handler_is_in_a_task_of_its_own_and_keeps_its_context():
    """current_task, timeouts and cancellation are as ever when the engine resumes a task on the spot."""
    seen = []

    @penstock.on_connection
    async def handle(conn: penstock.Connection[bytes]) -> None:
        task = asyncio.current_task()
        async for message in conn:
            seen.append(asyncio.current_task() is task)
            try:
                async with asyncio.timeout(0.01):
                    await conn.receive()
            except TimeoutError:
                await conn.send(b"late after " + message)

    async def main():
        async with penstock.serve(handle, bind="tcp://127.0.0.1:0", engine="native") as server:
            host, _, port = server.addresses[0].removeprefix("tcp://").rpartition(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            replies = []
            for word in (b"one\n", b"two\n"):
                writer.write(word)
                replies.append(await reader.readline())
            writer.close()
            return replies

    assert [b"late after one\n", b"late after two\n"] == run(main())
    assert [True, True] == seen


def test_receive_can_be_a_task_of_its_own():
    """Cancelled while it waits, it loses no message."""

    @penstock.on_connection
    async def handle(conn: penstock.Connection[bytes]) -> None:
        waiting = asyncio.create_task(conn.receive())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        await conn.send(b"ready")
        first, second = await asyncio.gather(
            conn.receive(), asyncio.wait_for(conn.receive(), 5), return_exceptions=True
        )
        assert isinstance(second, penstock.LocalProtocolError)
        await asyncio.gather(conn.send(first), conn.send(await conn.receive()))

    async def main():
        async with penstock.serve(handle, bind="tcp://127.0.0.1:0", engine="native") as server:
            host, _, port = server.addresses[0].removeprefix("tcp://").rpartition(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            assert b"ready\n" == await reader.readline()
            writer.write(b"one\ntwo\n")
            replies = await reader.read()
            writer.close()
            return replies

    assert b"one\ntwo\n" == run(main())


def test_an_awaitable_is_awaited_once():
    @penstock.on_connection
    async def handle(conn: penstock.Connection[bytes]) -> None:
        sending = conn.send(b"once")
        await sending
        with pytest.raises(RuntimeError, match="already awaited"):
            await sending

    async def main():
        async with penstock.serve(handle, bind="tcp://127.0.0.1:0", engine="native") as server:
            host, _, port = server.addresses[0].removeprefix("tcp://").rpartition(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            replies = await reader.read()
            writer.close()
            assert not server.stats.handler_errors
            return replies

    assert b"once\n" == run(main())


def test_a_connection_outlives_its_loop_harmlessly():
    """What a user kept of a closed loop does nothing, and does not crash."""
    kept = []

    @penstock.on_message
    def keep(conn, message):
        kept.append(conn)

    async def main():
        overload = OverloadConfig(stall_s=None)  # its thread would keep the server
        server = penstock.serve(keep, bind="tcp://127.0.0.1:0", engine="native", overload=overload)
        await server.start()
        host, _, port = server.addresses[0].removeprefix("tcp://").rpartition(":")
        peer.connect((host, int(port)))
        peer.sendall(b"hello\n")
        while not kept:
            await asyncio.sleep(0)
        server._close_listeners()

    with socket.socket() as peer:
        run(main())
        conn = kept.pop()
        conn.set_timeouts(idle_s=1.0)
        conn.close()
        conn.abort()

    assert "done" == conn.close_reason


@pytest.mark.parametrize("ending", ["begin_stop", "abort"])
def test_what_a_signal_handler_ends_while_the_loop_waits_has_ended(ending):
    """Nothing that begins while the loop waits for events is lost: connections end, and so does the server."""

    @penstock.on_message
    def echo(message):
        return message

    async def main():
        server = penstock.serve(echo, bind="tcp://127.0.0.1:0", engine="native")
        await server.start()
        clients = [await penstock.connect(server.addresses[0], codec="lines") for _ in range(3)]
        await server.wait_connections(3)

        def end(*_):
            if ending == "begin_stop":
                server.begin_stop()
            else:
                for connection in server.connections:
                    connection.abort()

        before = signal.signal(signal.SIGALRM, end)
        signal.setitimer(signal.ITIMER_REAL, 0.01)  # there is nothing else to do by then
        try:
            async with asyncio.timeout(20):
                await server.wait_connections(0)
                if ending == "begin_stop":
                    await server.wait_stopped()
        finally:
            signal.signal(signal.SIGALRM, before)
        await server.stop()
        for client in clients:
            client.abort()
        return dict(server.stats.closed)

    assert {{"begin_stop": "stopped", "abort": "aborted"}[ending]: 3} == run(main())


@pytest.fixture
def lowest():
    """A descriptor 0, which is what memory that nothing was written to says."""
    before = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    yield os.fstat(0).st_rdev
    os.dup2(before, 0)
    os.close(before)
    os.close(nothing)


@pytest.fixture
def exhaust():
    """Leave so many descriptors, and no more."""
    taken, limits = [], resource.getrlimit(resource.RLIMIT_NOFILE)

    def leave(count):
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
        while True:
            try:
                taken.append(os.dup(0))
            except OSError:
                break
        for _ in range(count):
            os.close(taken.pop())

    yield leave
    for each in taken:
        os.close(each)
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.parametrize("left", [0, 1])
@pytest.mark.parametrize("kind", [NativeSelector, AttachedPoller])
def test_a_set_that_cannot_be_made_leaves_descriptor_0_alone(kind, left, lowest, exhaust):
    """Each descriptor that it needs may be the one that there is none for; a selector does without its bell."""
    with asyncio.Runner() as runner:
        args = () if kind is NativeSelector else (runner.get_loop(),)
        exhaust(left)
        made = None
        try:
            made = kind(*args)
        except OSError:
            refused = True
        else:
            refused = False
            made.close()
        del made
        after = os.fstat(0).st_rdev

    assert refused == (left == 0 or kind is AttachedPoller)
    assert lowest == after


@pytest.mark.parametrize("kind", [NativeSelector, AttachedPoller, LoadLoop])
def test_a_call_that_is_no_call_closes_nothing(kind, lowest):
    """Where not even the arguments are looked at, nothing was begun."""
    with pytest.raises(TypeError):
        kind(**{1: 2})

    assert lowest == os.fstat(0).st_rdev
