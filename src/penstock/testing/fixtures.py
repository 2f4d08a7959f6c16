"""Fixtures for pytest: a test that asks for ``engine`` runs on every engine, with ``form`` in every form of a handler.

A test describes what is done with a message as ``react(conn, message) -> reply or None`` and lets ``form`` make a
service of it. ``serve`` serves it and watches: whatever else a test is about, each connection that was accepted has
exactly one ``closed`` event when the server has stopped, no handler failed unless the test says so, and no descriptor,
task or thread is left.

A ``conftest.py`` imports from here what its tests are to have: the fixtures, and the hooks by their names.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from ..config import Timeouts
from ..core.events import Closed, EventName
from ..core.service import Service
from ..engines.listener import Listener
from . import ciphered
from .engines import ALL_ENGINES, TLS_ENGINES, EngineUnderTest
from .forms import FORMS, Form
from .layers import Taps, listener_with
from .served import Served, served

# Whether all tests are to run over TLS, and nothing else: ``make test-tls``.
ALL_OVER_TLS = os.environ.get("PENSTOCK_TEST_TLS", "") == "1"


def pytest_configure(config: pytest.Config) -> None:
    """Name the markers by which a test chooses."""
    config.addinivalue_line("markers", "engines(*labels): only these engines")
    config.addinivalue_line("markers", "tapped: on each engine once more, with a layer over each link")
    config.addinivalue_line("markers", "ciphered: on each engine once more, over TLS")
    config.addinivalue_line("markers", "uncipherable(why): not over TLS")
    config.addinivalue_line("markers", "forms(which): only the forms for which this function returns True")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Pair ``form`` with the engines that serve it; give ``engine`` alone all engines, or those of its marker."""
    on_engines(metafunc, None)


def on_engines(metafunc: pytest.Metafunc, labels: Sequence[str] | None) -> None:
    """Run a test on engines: on those of its marker, else on those with these labels; None for all."""
    if "engine" not in metafunc.fixturenames:
        return
    only = metafunc.definition.get_closest_marker("engines")
    wanted = labels if only is None else only.args
    engines = [engine for engine in ALL_ENGINES if wanted is None or engine.label in wanted]
    bare = {engine: engine.label for engine in engines}
    if metafunc.definition.get_closest_marker("tapped"):
        taps = {engine.with_tap(): engine.label for engine in engines}
        engines, bare = [*engines, *taps], bare | taps
    never = metafunc.definition.get_closest_marker("uncipherable")
    why = None
    if never is None:
        over_tls = {each.with_tls(): engine.label for engine in engines if not engine.tapped for each in _ways(engine)}
        if ALL_OVER_TLS:
            engines, bare = list(over_tls), over_tls
        elif metafunc.definition.get_closest_marker("ciphered"):
            engines, bare = [*engines, *over_tls], bare | over_tls
    elif ALL_OVER_TLS:
        engines, why = engines[:1], f"not over TLS: {never.args[0]}"
    if "form" in metafunc.fixturenames:
        which = metafunc.definition.get_closest_marker("forms")
        forms = [form for form in FORMS if which is None or which.args[0](form)]
        pairs = [(engine, form) for engine in engines for form in forms if bare[engine] in form.engines]
        metafunc.parametrize(
            ("engine", "form"),
            [_parameter(engine, f"{engine.label}-{form.label}", form, why=why) for engine, form in pairs],
        )
    else:
        metafunc.parametrize("engine", [_parameter(engine, engine.label, why=why) for engine in engines])


def _ways(engine: EngineUnderTest) -> list[EngineUnderTest]:
    """Return the engine, and itself with Python's `ssl` alone where it has something else."""
    return [engine, *(each for each in TLS_ENGINES if each == engine.with_ssl_alone())]


def leave_to_ssl(monkeypatch: pytest.MonkeyPatch, engine: EngineUnderTest) -> None:
    """Have an engine whose TLS is Python's `ssl` alone be where compiled code is not known to be right."""
    if engine.in_memory:
        monkeypatch.setattr("penstock.engines.native.openssl.loaded.why_not", lambda: "a test says so")


def _parameter(engine: EngineUnderTest, label: str, *more: Form, why: str | None = None) -> Any:
    reason = why or engine.missing
    marks = [pytest.mark.skip(reason=reason)] if reason else []
    return pytest.param(engine, *more, id=label, marks=marks)


@pytest.fixture
def serve(
    engine: EngineUnderTest,
    request: pytest.FixtureRequest,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[..., contextlib.AbstractContextManager[Served]]]:
    """Serve a service, or ``react`` in the test's form, from ``with`` to the end of its block."""
    taps = Taps()
    closed: list[Closed] = []
    leave_to_ssl(monkeypatch, engine)
    if engine.tapped:
        monkeypatch.setattr("penstock.server.sockets.Listener", listener_with(Listener, taps.make))
    elif engine.ciphered:
        layer = ciphered.server_layer()
        monkeypatch.setattr("penstock.server.sockets.Listener", listener_with(Listener, layer, streams_only=True))
    form: Form | None = request.getfixturevalue("form") if "form" in request.fixturenames else None

    def start(target: Any, *, codec: Any = "lines", **options: Any) -> contextlib.AbstractContextManager[Served]:
        if form is not None and not isinstance(target, Service):
            target = form.make(target, codec)
            options.setdefault("model", form.model)
        options.setdefault("engine", engine.name)
        options.setdefault("timeouts", Timeouts(drain_s=10.0))
        options.setdefault("loop_factory", engine.loop_factory)
        options.setdefault("ciphered", engine.ciphered)
        return _noted(served(target, **options), closed)

    with caplog.at_level(logging.ERROR, logger="asyncio"):
        yield start
    assert [entry.getMessage() for entry in caplog.get_records("call") if entry.name == "asyncio"] == []
    if engine.tapped:
        assert [(tap.bytes_in, tap.bytes_out) for tap in taps] == _counts(closed)
        assert [tap.lost for tap in taps] == [1] * len(taps)


@contextlib.contextmanager
def _noted(serving: contextlib.AbstractContextManager[Served], closed: list[Closed]) -> Iterator[Served]:
    """Serve, and keep how the connections ended."""
    with serving as server:
        yield server
    closed.extend(server.record.of(EventName.CLOSED))


def _counts(closed: Sequence[Closed]) -> list[tuple[int, int]]:
    """Return how many bytes the connections received and sent, in the order in which they were accepted."""
    return [(event.bytes_in, event.bytes_out) for event in sorted(closed, key=lambda event: event.connection.id)]
