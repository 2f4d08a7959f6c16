"""What one process answers, on every engine: how it is, who is there, and what it is told to do."""

import asyncio

import pytest

import penstock
from penstock.control.messages import (
    Connections,
    Drain,
    Kick,
    Limits,
    LogLevel,
    Reload,
    Scale,
    Stacks,
    Status,
    Stop,
    Workers,
)
from penstock.errors import ConfigurationError

from .conftest import each_engine


@each_engine
async def test_the_status_says_what_is_served_and_how(under, me, engine):
    """Where, on which engine, and how many are there and have been."""
    async with under(engine, peers=2) as (process, _):
        found, rows = await process.ask(Status())
        each = found["services"]["shout"]

        assert ("shout", me, "serving", 2, ()) == (
            *(found["name"], found["pid"], found["state"], found["connections"]),
            rows,
        )
        assert (list(process.server.addresses), engine, 2, 2, 2, 2) == (
            *(each["addresses"], each["engine"], each["connections"]),
            *(each["accepted"], each["messages_in"], each["messages_out"]),
        )


@each_engine
async def test_connections_are_rows_with_what_they_have_done(under, me, engine):
    """Peer, age, messages and bytes both ways, what is queued, for how long it has been idle, its state and service."""
    async with under(engine, peers=1) as (process, _):
        found, [row] = await process.ask(Connections())
        while row.bytes_out < 2:  # a thread counts what it has sent after the peer has it
            await asyncio.sleep(0)
            found, [row] = await process.ask(Connections())
        [conn] = process.server.connections

        assert {"total": 1} == found
        assert (conn.id, me, "shout", str(conn.peer), "open") == (row.id, row.worker, row.service, row.peer, row.state)
        assert (1, 1, 2, 2, 0, None) == (
            *(row.messages_in, row.messages_out, row.bytes_in, row.bytes_out),
            *(row.queued_bytes, row.tls),
        )
        assert 0 <= row.idle_s <= row.age_s + 0.001


@each_engine
async def test_those_who_are_kicked_end_and_no_others(under, engine):
    """Gracefully: the peer sees an end, not a reset."""
    async with under(engine, peers=3) as (process, clients):
        _, rows = await process.ask(Connections())
        found, _ = await process.ask(Kick(ids=[rows[1].id]))

        assert {"kicked": 1} == found
        await process.server.wait_connections(2)
        with pytest.raises(penstock.EndOfStreamError):
            await clients[1].receive()
        assert b"B" == await clients[0].request(b"b")


@each_engine
async def test_a_kick_may_abort(under, engine):
    """Then nothing more is sent."""
    async with under(engine, peers=1) as (process, [client]):
        assert {"kicked": 1} == (await process.ask(Kick(all=True, abort=True)))[0]
        with pytest.raises(penstock.BrokenError):
            await client.receive()


async def test_a_kick_says_whom_it_means(under):
    """Neither by forgetting a filter nor by one too many are all of them ended."""
    async with under("pure", peers=1) as (process, _):
        for request in (Kick(), Kick(all=True, service="shout")):
            with pytest.raises(ConfigurationError):
                await process.ask(request)

        assert {"kicked": 0} == (await process.ask(Kick(ids=[])))[0]
        assert 1 == len(process.server.connections)


@each_engine
async def test_a_limit_that_is_set_holds_at_once(under, engine):
    """And is read again as the command line would take it."""
    async with under(engine, peers=1) as (process, _):
        found, _ = await process.ask(Limits(set={"max_connections": "1", "accept_rate": "5/s"}))

        assert ("1", "5/s") == (found["shout"]["max_connections"], found["shout"]["accept_rate"])
        with pytest.raises((penstock.ConnectError, penstock.ConnectionEndedError)):
            async with await penstock.connect(process.server.addresses[0]) as refused:
                await refused.request(b"b")
        await process.server.wait_until(lambda server: server.stats.refused["limit"] == 1)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"max_conections": "5"}, "did you mean max_connections"),
        ({"max_connections": "0"}, "whole number from 1"),
        ({"max_connections": "auto"}, "auto is worked out at the start"),
        ({"max_connections": "1000"}, "100 descriptors"),
        ({"backlog": "5"}, "there is no limit 'backlog'"),
    ],
)
async def test_a_wrong_limit_changes_nothing(under, changes, problem, monkeypatch):
    """Not even what stands beside it."""
    monkeypatch.setattr("penstock.control.limits.descriptor_limit", lambda: 100)
    async with under("pure") as (process, _):
        before = process.server.gate.rules
        with pytest.raises(ConfigurationError, match=problem):
            await process.ask(Limits(set={"accept_rate": "1/s", **changes}))

        assert before == process.server.gate.rules


@each_engine
async def test_a_drain_is_begun_and_said(under, engine):
    """What SIGTERM does; the status says so until the end."""
    async with under(engine, peers=1) as (process, [client]):
        assert {"draining": 1} == (await process.ask(Drain()))[0]
        assert "draining" == (await process.ask(Status()))[0]["state"]
        with pytest.raises(penstock.EndOfStreamError):
            await client.receive()
        await process.server.wait_stopped()

        assert 0 == process.server.cut_off


@each_engine
async def test_a_stop_aborts(under, engine):
    """What a second signal does."""
    async with under(engine, peers=1) as (process, [client]):
        assert {"aborted": 1} == (await process.ask(Stop()))[0]
        with pytest.raises(penstock.BrokenError):
            await client.receive()
        await process.server.wait_stopped()


async def test_a_reload_says_what_came_of_it(under):
    """The words that the log has, too."""
    async with under("pure") as (process, _):
        assert {"reloaded": "max_connections = 3"} == (await process.ask(Reload()))[0]


async def test_the_level_of_the_log_is_told_and_changed(under):
    """A level is one of five words."""
    async with under("pure") as (process, _):
        await process.ask(LogLevel(level="DEBUG"))
        with pytest.raises(ConfigurationError, match="is no level"):
            await process.ask(LogLevel(level="loud"))

        assert ["debug"] == process.levels


@each_engine
async def test_stacks_say_where_handlers_wait(engine):
    """Each connection, each task, each thread."""
    from penstock.control.process import ProcessControl
    from penstock.server.beside import Steered

    if engine == "blocking":

        @penstock.on_connection(codec="lines")
        def wait_here(conn) -> None:
            for _ in conn:
                pass
    else:

        @penstock.on_connection(codec="lines")
        async def wait_here(conn) -> None:
            async for _ in conn:
                pass

    async with penstock.serve(wait_here, engine=engine, bind="tcp://127.0.0.1:0") as server:
        async with await penstock.connect(server.addresses[0]):
            await server.wait_connections(1)
            control = ProcessControl(Steered("wait_here", server, None), lambda _: True)
            found, _ = await control.answer(Stacks())

    assert any(line.startswith("connection ") for line in found["work"])
    assert any(line.startswith("thread ") for line in found["threads"])


@pytest.mark.parametrize("request_", [Workers(), Scale(workers=2), Drain(worker=1)])
async def test_what_needs_a_supervisor_is_refused_without_one(under, request_):
    """In words that say why."""
    async with under("pure") as (process, _):
        with pytest.raises(ConfigurationError, match="there is no supervisor"):
            await process.ask(request_)
