"""What an application opens is open before the first handler and until after the last, on every engine and model.

Law of the kind: opened in order, closed in reverse, each exactly once, whatever the handlers are and whatever failed.
"""

import asyncio

import pytest

import penstock
from penstock.errors import ApplicationError

pytestmark = [
    pytest.mark.uncipherable("an application has its own addresses"),
    pytest.mark.filterwarnings("error"),
]


def made(form, told, react):
    """An application of one service in this form, whose two lifespans tell what they see."""
    app = penstock.App()

    def lifespan(name):
        @app.lifespan
        async def opened(app):
            told.append(f"open {name}")
            yield
            (server,) = app.server.servers.values()
            told.append(f"close {name}, {len(server.connections)} open")

    lifespan("first")
    lifespan("second")
    app.add(form.make(react, "lines"), name="service", bind="tcp://127.0.0.1:0", model=form.model)
    return app


def run(engine, main):
    with asyncio.Runner(loop_factory=engine.loop_factory) as runner:
        return runner.run(asyncio.wait_for(main(), 20))


def test_it_spans_every_handler_and_every_connection(engine, form):
    """Also those that are open when the end begins: they have drained when the first lifespan closes."""
    told = []

    def react(_conn, message):
        told.append(message)
        return message

    async def main():
        async with made(form, told, react).test(engine=engine.name) as t:
            conns = [await t.connect("service") for _ in range(2)]
            for conn, message in zip(conns, (b"one", b"two"), strict=True):
                await conn.send(message)
                assert message == await conn.receive()

    for _ in range(2):  # another life is as the first
        told.clear()
        run(engine, main)

        assert [
            *("open first", "open second", b"one", b"two"),
            *("close second, 0 open", "close first, 0 open"),
        ] == told


def test_it_is_closed_when_a_handler_has_failed(engine, form):
    """The failure ends its connection alone."""
    told = []

    def react(_conn, message):
        raise ValueError(message)

    async def main():
        async with made(form, told, react).test(engine=engine.name) as t:
            conn = await t.connect("service")
            await conn.send(b"one")
            with pytest.raises(penstock.ConnectionEndedError):
                await conn.receive()

    run(engine, main)

    assert ["open first", "open second", "close second, 0 open", "close first, 0 open"] == told


def test_one_that_fails_at_the_start_closes_those_before_it_and_nothing_is_served(engine, form):
    """No connection was let in, and what was opened is closed once."""
    told = []
    app = made(form, told, lambda _conn, message: message)

    @app.lifespan
    def third():
        raise OSError("no database")
        yield

    async def main():
        with pytest.raises(ApplicationError, match="no database"):
            async with app.test(engine=engine.name):
                pytest.fail("it serves")

    run(engine, main)

    assert ["open first", "open second", "close second, 0 open", "close first, 0 open"] == told
    assert app.server is None
