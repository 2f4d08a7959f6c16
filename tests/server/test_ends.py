"""What others want to know of a connection: every callback is called, and what is not wanted any more is forgotten."""

import asyncio
import signal
from types import SimpleNamespace

import pytest

import penstock
from penstock.core.events import Closed
from penstock.server.ends import Ends


def ended(conn):
    """The event that a connection has ended."""
    event = object.__new__(Closed)
    object.__setattr__(event, "connection", conn)
    return event


@pytest.mark.parametrize(
    ("errors", "raised"),
    [
        ([ValueError("one")], ValueError),
        ([ValueError("one"), KeyError("two")], ExceptionGroup),
        ([ValueError("one"), SystemExit("two")], BaseExceptionGroup),
    ],
)
def test_a_callback_that_raises_keeps_none_from_being_called(errors, raised):
    """What they raised comes out when all have been called."""
    ends, told = Ends(), []
    conn = SimpleNamespace(id=1, close_reason=None)

    def failing(error):
        def callback():
            told.append(type(error))
            raise error

        return callback

    for error in errors:
        ends.add(conn, failing(error))
    ends.add(conn, lambda: told.append("the last"))
    with pytest.raises(raised):
        ends.observe(ended(conn))

    assert [*map(type, errors), "the last"] == told


def test_an_interrupt_comes_out_by_itself_when_all_have_been_called():
    """A Ctrl-C is the process's, whatever else failed."""
    ends, told = Ends(), []
    conn = SimpleNamespace(id=1, close_reason=None)

    def broken():
        raise ValueError("one")

    ends.add(conn, broken)
    ends.add(conn, lambda: signal.raise_signal(signal.SIGINT))
    ends.add(conn, lambda: told.append("the last"))
    with pytest.raises(KeyboardInterrupt):
        ends.observe(ended(conn))

    assert ["the last"] == told


@pytest.mark.parametrize("engine", ["pure", "native", "blocking"])
async def test_tasks_that_have_ended_leave_nothing_with_their_connection(engine):
    """However many a connection starts in its life; the server holds nothing of them."""
    counted = []

    async def work():
        """Ends at once."""

    async def slow():
        await asyncio.Event().wait()

    @penstock.on_message(codec="lines")
    def echo(conn, message: bytes) -> bytes:
        conn.task(slow() if message == b"slow" else work())
        return message

    try:
        server = penstock.serve(echo, bind="tcp://127.0.0.1:0", engine=engine)
        await server.start()
    except penstock.ConfigurationError as error:  # the native engine is not built everywhere
        pytest.skip(str(error))
    async with await penstock.connect(server.addresses[0], codec="lines") as conn:
        await conn.request(b"slow")
        for _ in range(50):
            await conn.request(b"quick")
        while len(server._background) > 1:
            await asyncio.sleep(0)
        (callbacks,) = server._ends._closed.values()
        counted.append(len(callbacks))
    await server.drain()

    assert [1] == counted
    assert {} == server._ends._closed
