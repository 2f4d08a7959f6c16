"""One fixture for the engines and one for the forms of a handler: every law meets every engine in every form it
serves.

A test describes what is done with a message as ``react(conn, message) -> reply or None`` and lets ``form`` make a
service of it. ``serve`` serves it and watches: whatever else a test is about, each connection that was accepted has
exactly one ``closed`` event when the server has stopped, no handler failed unless the test says so, and no descriptor,
task or thread is left.
"""

import asyncio
import contextlib
import functools
import gc
import importlib
import logging
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

import penstock
from penstock.config import Timeouts
from penstock.core.events import EventName
from penstock.core.service import callbacks
from penstock.server.choice import ENGINES
from penstock.testing.peers import PATIENCE_S, dial
from penstock.testing.thread import ServerThread

# -- engines -----------------------------------------------------------------------------------------------------------


def _uvloop():
    return importlib.import_module("uvloop").new_event_loop()


def _native():
    return importlib.import_module("penstock.engines.native.engine").new_event_loop()


def _eager(factory):
    """Make loops whose tasks begin to run when they are made, as an application may have it."""

    def make():
        loop = factory()
        loop.set_task_factory(asyncio.eager_task_factory)
        return loop

    return make


@dataclass(frozen=True)
class EngineUnderTest:
    """An engine, and the loop it runs beside."""

    label: str
    name: str
    needs: str
    loop_factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.SelectorEventLoop

    @property
    def missing(self) -> str | None:
        """Why it cannot be tested here, or None."""
        if self.name not in ENGINES:
            return f"there is no {self.name} engine"
        try:
            importlib.import_module(self.needs)
        except ImportError as error:
            return str(error)
        return None


ALL_ENGINES = (
    EngineUnderTest("pure", "pure", "penstock.engines.pure.engine"),
    EngineUnderTest("uvloop", "pure", "uvloop", _uvloop),
    EngineUnderTest("blocking", "blocking", "penstock.engines.blocking.engine"),
    EngineUnderTest("native", "native", "penstock.engines.native.engine", _native),
    EngineUnderTest("attached", "native", "penstock.engines.native.engine"),  # in a loop that is not its own
)
LOOPS = ("pure", "uvloop", "native", "attached")  # those that run coroutines
if sys.version_info >= (3, 12):
    ALL_ENGINES += (
        EngineUnderTest("eager", "pure", "penstock.engines.pure.engine", _eager(asyncio.SelectorEventLoop)),
        EngineUnderTest("eager-native", "native", "penstock.engines.native.engine", _eager(_native)),
    )
    LOOPS += ("eager", "eager-native")


# -- forms of a handler ------------------------------------------------------------------------------------------------

React = Callable[[Any, Any], Any]


@dataclass(frozen=True)
class Form:
    """One way to write a handler.

    Attributes:
        label: What test ids call it.
        make: Makes a service of ``react`` over a codec.
        engines: The labels of those that serve it.
        has_conn: ``react`` gets the connection; otherwise None.
        is_conversation: It receives and sends by itself; it has no reply once it has closed.
        model: The concurrency model it is served under.
    """

    label: str
    make: Callable[[React, Any], penstock.Service]
    engines: tuple[str, ...] = LOOPS
    has_conn: bool = True
    is_conversation: bool = False
    model: str = "loop"

    @property
    def in_threads(self):
        """Whether ``react`` runs beside the server's loop."""
        return self.model == "threads" or self.label == "def-connection"


def _def_message(react, codec):
    return penstock.on_message(codec=codec)(lambda message: react(None, message))


def _def_message_conn(react, codec):
    return penstock.on_message(codec=codec)(react)


def _async_message(react, codec):
    @penstock.on_message(codec=codec)
    async def handle(message):
        await asyncio.sleep(0)
        return react(None, message)

    return handle


def _async_message_conn(react, codec):
    @penstock.on_message(codec=codec)
    async def handle(conn, message):
        await asyncio.sleep(0)
        return react(conn, message)

    return handle


def _async_connection(react, codec):
    @penstock.on_connection(codec=codec)
    async def handle(conn):
        async for message in conn:
            reply = react(conn, message)
            if reply is not None:
                await conn.send(reply)

    return handle


def _def_connection(react, codec):
    @penstock.on_connection(codec=codec)
    def handle(conn):
        for message in conn:
            reply = react(conn, message)
            if reply is not None:
                conn.send(reply)

    return handle


def _def_callbacks(react, codec):
    class Callbacks(penstock.Handler):
        def on_message(self, conn, message):
            return react(conn, message)

    return callbacks(Callbacks, name="def-callbacks", codec=codec)


def _async_callbacks(react, codec):
    class Callbacks(penstock.Handler):
        async def on_connect(self, conn):
            await asyncio.sleep(0)

        async def on_message(self, conn, message):
            await asyncio.sleep(0)
            return react(conn, message)

    return callbacks(Callbacks, name="async-callbacks", codec=codec)


FORMS = (
    Form("def-message", _def_message, (*LOOPS, "blocking"), has_conn=False),
    Form("def-message-conn", _def_message_conn, (*LOOPS, "blocking")),
    Form("def-callbacks", _def_callbacks, (*LOOPS, "blocking")),
    Form("def-connection", _def_connection, ("blocking",), is_conversation=True),
    Form("async-message", _async_message, has_conn=False),
    Form("async-message-conn", _async_message_conn),
    Form("async-callbacks", _async_callbacks),
    Form("async-connection", _async_connection, is_conversation=True),
    Form("threads-message", _def_message, has_conn=False, model="threads"),
    Form("threads-message-conn", _def_message_conn, model="threads"),
    Form("threads-callbacks", _def_callbacks, model="threads"),
)


def pytest_configure(config):
    config.addinivalue_line("markers", "engines(*labels): only these engines")
    config.addinivalue_line("markers", "forms(which): only the forms for which this function says yes")


def pytest_generate_tests(metafunc):
    """Pair ``form`` with the engines that serve it; give ``engine`` alone all engines, or those of its marker."""
    if "engine" not in metafunc.fixturenames:
        return
    only = metafunc.definition.get_closest_marker("engines")
    engines = [engine for engine in ALL_ENGINES if only is None or engine.label in only.args]
    if "form" in metafunc.fixturenames:
        wanted = metafunc.definition.get_closest_marker("forms")
        forms = [form for form in FORMS if wanted is None or wanted.args[0](form)]
        pairs = [(engine, form) for engine in engines for form in forms if engine.label in form.engines]
        metafunc.parametrize(
            ("engine", "form"), [_parameter(engine, f"{engine.label}-{form.label}", form) for engine, form in pairs]
        )
    else:
        metafunc.parametrize("engine", [_parameter(engine, engine.label) for engine in engines])


def _parameter(engine, label, *more):
    marks = [pytest.mark.skip(reason=engine.missing)] if engine.missing else []
    return pytest.param(engine, *more, id=label, marks=marks)


# -- serving -----------------------------------------------------------------------------------------------------------


@dataclass
class Record:
    """Every event of one server, as an observer sees them."""

    events: list[Any] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def observe(self, event):
        with self.lock:
            self.events.append(event)

    def of(self, name):
        """The events of one name, in order."""
        with self.lock:
            return [event for event in self.events if event.name is name]

    @property
    def reasons(self):
        """Why connections closed, in the order of their ends."""
        return [str(event.fields["reason"]) for event in self.of(EventName.CLOSED)]

    @property
    def failures(self):
        """What handlers raised, in order."""
        return [event.fields["error"] for event in self.of(EventName.HANDLER_FAILED)]


class Served(ServerThread):
    """A server under observation."""

    def __init__(self, target, *, record, **options):
        super().__init__(target, observers=[record], **options)
        self.record = record
        self.tasks_left = []

    async def _main(self):
        await super()._main()
        await asyncio.sleep(0)  # a task is done one turn after its coroutine, for the loop
        self.tasks_left = [str(task) for task in asyncio.all_tasks() - {asyncio.current_task()}]

    def dial(self, index=0, **options):
        """Connect a plain socket to one of the server's addresses."""
        return dial(self.addresses[index], **options)

    def reasons(self, count):
        """Wait until ``count`` connections have closed; return why, in order."""
        self.wait_closed(count)
        # On an engine of threads the server's own count is a moment ahead of the record.
        self.wait_until(lambda _: len(self.record.reasons) >= count)
        return self.record.reasons


@pytest.fixture
def tally(figure):
    """A function that adds to a count; the sums are printed with the figures."""

    def add(label, count):
        if label not in _SUMS:
            _SUMS[label] = [0, figure]
        _SUMS[label][0] += count

    return add


_SUMS = {}


def pytest_sessionfinish():
    for label, (count, figure) in _SUMS.items():
        figure(f"{label}: {count}")
    _SUMS.clear()


@functools.cache
def _warm(loop_factory):
    """Run one loop: libuv keeps the pipe its signals go through when the first loop is closed."""
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(asyncio.sleep(0))


@pytest.fixture
def serve(engine, request, caplog):
    """Serve a service, or ``react`` in the test's form, from ``with`` to the end of its block."""
    form = request.getfixturevalue("form") if "form" in request.fixturenames else None

    _warm(engine.loop_factory)

    @contextlib.contextmanager
    def start(target, *, codec="lines", fails=0, **options):
        if form is not None and not isinstance(target, penstock.Service):
            target = form.make(target, codec)
            options.setdefault("model", form.model)
        options.setdefault("engine", engine.name)
        options.setdefault("timeouts", Timeouts(drain_s=10.0))
        options.setdefault("loop_factory", engine.loop_factory)
        record = Record()
        descriptors, threads = _descriptors(), set(threading.enumerate())
        with Served(target, record=record, **options) as server:
            yield server
        _check(record, fails)
        assert [] == server.tasks_left
        for thread in set(threading.enumerate()) - threads:
            thread.join(PATIENCE_S)  # an idle one of a pool may still be on its way out
            assert not thread.is_alive(), f"{thread.name} was left running"
        if descriptors < _descriptors():
            gc.collect()  # what is closed by now was garbage, of which -W error complains by itself
            assert descriptors >= _descriptors(), "descriptors were left open"

    with caplog.at_level(logging.ERROR, logger="asyncio"):
        yield start
    assert [] == [entry.getMessage() for entry in caplog.get_records("call") if entry.name == "asyncio"]


def _check(record, fails):
    """Law 2 and law 6, for every test."""
    accepted = Counter(event.connection.id for event in record.of(EventName.ACCEPTED))
    closed = Counter(event.connection.id for event in record.of(EventName.CLOSED))

    assert accepted == closed
    assert all(count == 1 for count in closed.values())
    assert all(event.fields["reason"] == event.connection.close_reason for event in record.of(EventName.CLOSED))
    assert fails == len(record.failures), record.failures


def _descriptors():
    return len(os.listdir("/proc/self/fd"))
