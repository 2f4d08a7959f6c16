"""Law 7, both ways at once: a server does not read who is owed too much, a client reads on. So one of the two reads."""

import asyncio
import contextlib
import importlib
import threading
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import penstock
from penstock import ClientTimeouts, connect, connect_sync
from penstock.config import Limits, Timeouts
from penstock.testing.peers import PATIENCE_S

ENGINES = ("pure", "uvloop", "native", "attached", "blocking")
LOOPS = {
    "asyncio": lambda: asyncio.SelectorEventLoop,
    "uvloop": lambda: importlib.import_module("uvloop").new_event_loop,
    "native": lambda: importlib.import_module("penstock.engines.native.engine").new_event_loop,
}
CLIENTS = [*LOOPS, "sync"]
FORMS = ("def-message", "async-connection", "def-connection", "threads-message")

# For a wait that must not come to its end.
LONG = ClientTimeouts(connect_s=None, read_s=PATIENCE_S, write_s=PATIENCE_S)


@dataclass(frozen=True)
class Traffic:
    """What a client and a server have to say to each other, and what each may hold.

    Attributes:
        size: Of a message, without its newline.
        count: Of messages.
        growth: How many times as long a reply is.
        here: The client's limits.
        there: The server's.
    """

    size: int
    count: int
    growth: int
    here: Limits
    there: Limits

    @property
    def sent_bytes(self):
        return self.count * (self.size + 1)

    @property
    def reply_bytes(self):
        return self.count * (self.size * self.growth + 1)


@st.composite
def limits(draw):
    high = draw(st.sampled_from([1, 1000, 16_384, 65_536, 300_000]))
    low = draw(st.sampled_from([0, high // 4, high]))
    most = draw(st.sampled_from([high, 1 << 20]))
    read_bytes = draw(st.sampled_from([100, 4096, 65_536, 262_144]))
    batch = draw(st.sampled_from([1, 16, 256]))
    return Limits(
        write_high_bytes=high,
        write_low_bytes=low,
        write_max_bytes=max(high, most),
        read_bytes=read_bytes,
        batch_messages=batch,
    )


@st.composite
def traffic(draw):
    size = draw(st.sampled_from([0, 1, 100, 3000, 20_000, 150_000]))
    total = draw(st.sampled_from([1, 100_000, 1_500_000]))
    count = min(1500, 1 + total // (size + 1))
    return Traffic(size, count, draw(st.sampled_from([1, 3])), draw(limits()), draw(limits()))


@st.composite
def fitting(draw):
    """All that comes back fits what the client holds unasked."""
    wanted = draw(traffic())
    count = wanted.here.read_bytes // (wanted.size * wanted.growth + 1)
    return Traffic(wanted.size, min(count, wanted.count), wanted.growth, wanted.here, wanted.there)


def exchange(client, address, load, *, at_once, timeouts=LONG):
    """Send all messages; return the replies. ``at_once``: receive while sending, else after it."""
    message = b"x" * load.size
    options = {"codec": "lines:max=4MiB", "limits": load.here, "timeouts": timeouts}
    if client == "sync":
        return _exchange_sync(address, message, load.count, options, at_once)
    with asyncio.Runner(loop_factory=LOOPS[client]()) as runner:
        return runner.run(_exchange(address, message, load.count, options, at_once))


async def _exchange(address, message, count, options, at_once):
    async def send():
        for _ in range(count):
            await conn.send(message)

    async with await connect(address, **options) as conn:
        sending = asyncio.create_task(send()) if at_once else await send()
        replies = [await conn.receive() for _ in range(count)]
        if at_once:
            await sending
    return replies


def _exchange_sync(address, message, count, options, at_once):
    def send():
        for _ in range(count):
            conn.send(message)

    with connect_sync(address, **options) as conn:
        if at_once:
            sending = threading.Thread(target=send)
            sending.start()
        else:
            send()
        replies = [conn.receive() for _ in range(count)]
        if at_once:
            sending.join()
    return replies


def missing(client):
    """Why there is no such loop here, or None."""
    with contextlib.suppress(ImportError):
        if client != "sync":
            LOOPS[client]()
        return None
    return f"there is no {client}"


@pytest.mark.uncipherable("its clients speak in clear")
@pytest.mark.engines(*ENGINES)
@pytest.mark.forms(lambda form: form.label in FORMS)
@pytest.mark.parametrize("client", CLIENTS)
class TestNobodyComesToRestOwingAndOwed:
    @pytest.fixture(autouse=True)
    def _there_is_one(self, client):
        if why := missing(client):
            pytest.skip(why)
        if client != "sync":  # libuv keeps the pipe its signals go through when the first loop is closed
            with asyncio.Runner(loop_factory=LOOPS[client]()) as runner:
                runner.run(asyncio.sleep(0))

    @settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
    @given(load=traffic())
    def test_where_each_side_receives(self, serve, form, engine, client, tmp_path_factory, load):
        """Whatever the sizes, the depth and the watermarks: every reply comes."""
        bind = f"unix:{tmp_path_factory.mktemp('s')}/s"
        reply = lambda _conn, message: message * load.growth  # noqa: E731 - what the server does
        with serve(reply, codec="lines:max=4MiB", bind=bind, limits=load.there) as server:
            replies = exchange(client, server.address, load, at_once=True)

        assert [b"x" * (load.size * load.growth)] * load.count == replies

    @settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
    @given(load=fitting())
    def test_where_all_that_comes_back_fits(self, serve, form, engine, client, tmp_path_factory, load):
        """Who sends all before receiving anything gets through when what comes back is no more than ``read_bytes``."""
        bind = f"unix:{tmp_path_factory.mktemp('s')}/s"
        reply = lambda _conn, message: message * load.growth  # noqa: E731 - what the server does
        with serve(reply, codec="lines:max=4MiB", bind=bind, limits=load.there) as server:
            replies = exchange(client, server.address, load, at_once=False)

        assert [b"x" * (load.size * load.growth)] * load.count == replies

    def test_else_the_error_says_who_did_not_receive(self, serve, form, engine, client, tmp_path):
        """Who sends without end and never receives is told that this was wrong, whichever side gave up first."""
        load = Traffic(1000, 100_000, 1, Limits(read_bytes=4096), Limits())

        def broken(here_s, there_s):
            bind = f"unix:{tmp_path}/{here_s}-{there_s}"
            with serve(
                lambda _conn, message: message, bind=bind, timeouts=Timeouts(write_s=there_s, drain_s=5.0)
            ) as server:
                with pytest.raises(penstock.BrokenError) as caught:
                    exchange(client, server.address, load, at_once=False, timeouts=ClientTimeouts(write_s=here_s))
            return caught.value

        for gives_up_here in (True, False):
            # Where the machine gave the other side no turn in that time, there was nothing yet to be received.
            for write_s in (0.2, 1.0, 5.0):
                error = broken(write_s, PATIENCE_S) if gives_up_here else broken(PATIENCE_S, write_s)
                if 4096 < error.unread_bytes:
                    break

            assert 4096 < error.unread_bytes
            assert "were not received here" in str(error)
