"""What a foreign handler cannot have is refused at the start, by name, and not ignored."""

import asyncio

import pytest

import penstock
from penstock.adapters import service_of
from penstock.config import Timeouts
from penstock.config.options import values
from penstock.errors import ConfigurationError
from penstock.testing.engines import LOOPS
from penstock.testing.peers import PATIENCE_S

from .shouts import DATAGRAMS, STREAMS, service

OF_BYTES = [name for name in STREAMS if name != "filter"]
OF_MESSAGES = [
    ("codec", "lines"),
    ("bad_messages", "skip"),
    ("timeout_message", 5.0),
    ("min_message_rate", 1024),
    ("max_message_rate", "10/s"),
    ("slow_consumer", "drop_oldest"),
]
BINDS = {"datagram-protocol": "udp://127.0.0.1:0", "datagram-handler": "udp://127.0.0.1:0"}


def refused(made, **options):
    """Return what the start says, before it opens anything."""
    with pytest.raises(ConfigurationError) as caught:
        penstock.serve(made, bind=BINDS.get(made.name, "tcp://127.0.0.1:0"), **options).check()
    return caught.value


@pytest.mark.parametrize("name", OF_BYTES)
def test_what_is_of_messages_is_refused_where_the_handler_cuts_the_bytes(name):
    """So is a policy that would leave out bytes in the middle of its stream. The error names service and option."""
    made = service(STREAMS, name)
    problems = [refused(made, **{option: value}) for option, value in OF_MESSAGES]

    assert [option for option, _ in OF_MESSAGES] == [problem.where for problem in problems]
    assert all(f"{name} was written for {made.written_for} and " in problem.problem for problem in problems)


@pytest.mark.parametrize("name", [name for name in BINDS if name in DATAGRAMS])
@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("tls_cert", ["cert.pem"]),
        ("proxy_from", ["127.0.0.1"]),
        ("max_connections", 5),
        ("max_per_peer", 5),
        ("timeout_idle", "5s"),
        ("timeout_first_message", "5s"),
        ("tcp_keepalive", "5s"),
        ("backlog", 5),
    ],
)
def test_what_is_of_connections_is_refused_where_there_are_only_datagrams(name, option, value):
    """A server that has an address with connections has such options; a handler of datagrams has no such address."""
    problem = refused(service(DATAGRAMS, name), **{option: value})

    assert (option, True) == (problem.where, "handles datagrams, and has no connections" in problem.problem)


@pytest.mark.parametrize("name", STREAMS)
def test_options_of_programs_are_refused_where_there_is_none(name):
    """A program for each connection is given no lines, so it has no time for one; a filter has both options."""
    made = service(STREAMS, name)
    wanted = {"filter": set(), "exec": {"timeout_program"}}.get(name, {"timeout_program", "max_processes"})
    found = set()
    for option in ("timeout_program", "max_processes"):
        try:
            penstock.serve(made, **{option: 5}).check()
        except ConfigurationError as error:
            found.add(error.where)

    assert wanted == found


@pytest.mark.parametrize("name", STREAMS)
def test_tls_that_the_handler_would_begin_is_refused(name):
    """It knows nothing of it, and would speak in clear for ever."""
    problem = refused_at(service(STREAMS, name), "tcp://127.0.0.1:0?tls=start", tls_dev=True)

    assert "does not say when TLS begins: leave the option out, or say tls://" in problem


def refused_at(made, address, **options):
    with pytest.raises(ConfigurationError) as caught:
        penstock.serve(made, bind=address, **options).check()
    return str(caught.value)


@pytest.mark.parametrize("name", STREAMS)
def test_an_engine_or_a_model_that_cannot_run_it_is_refused(name):
    """What is a coroutine needs a loop, and what blocks a thread of its own."""
    has_thread = STREAMS[name][2]
    why = "blocks" if has_thread else "is async, which needs a loop"
    with pytest.raises(ConfigurationError, match=why):
        penstock.serve(service(STREAMS, name), engine="pure" if has_thread else "blocking").check()
    if not has_thread:
        with pytest.raises(ConfigurationError, match="--model threads is for def handlers"):
            penstock.serve(service(STREAMS, name), model="threads").check()


def test_what_is_a_default_or_off_is_not_refused():
    """Nobody asked for it."""
    options = {"slow_consumer": "disconnect", "timeout_message": None, "timeouts": Timeouts(idle_s=5.0)}
    penstock.serve(service(STREAMS, "protocol"), **options).check()


def test_an_application_may_say_for_all_what_one_of_its_services_cannot_have():
    """It is for the others; said of that service alone it is refused."""
    general = {
        "bad_messages": "skip",
        "timeout_message": "5s",
        "min_message_rate": 1024,
        "slow_consumer": "drop_oldest",
    }
    rate = {"max_message_rate": "2/s", "on_message_rate": "close"}
    app = penstock.App(**general)
    app.add(asyncio.Protocol, name="bytes", bind="tcp://127.0.0.1:0")
    app.add(lambda message: message, name="others", bind="tcp://127.0.0.1:0")
    app.serve()
    configs = {name: values(config) for name, config in app.configs(rate, {}).items()}
    plain = values(penstock.ServerConfig())

    forked = app.configs({"model": "process", "max_processes": 3}, {})

    assert [3, 3] == [config.max_processes for config in forked.values()]  # which has every handler
    for option in (*general, *rate):
        assert plain[option] == configs["bytes"][option]
        assert plain[option] != configs["others"][option]

    with pytest.raises(ConfigurationError, match="cuts the bytes itself"):
        app.serve(services={"bytes": {"timeout_message": "5s"}})
    with pytest.raises(ConfigurationError, match="cuts the bytes itself"):
        app.add(asyncio.Protocol, name="other", timeout_message="5s")


SIZE = 4_000_000


async def _flood(reader, writer):
    """Echo small pieces; then owe the peer far more than the high watermark, without waiting for it."""
    for _ in range(6):
        writer.write(await reader.readexactly(1))
    await reader.readexactly(1)
    for _ in range(SIZE // 40_000):
        writer.write(bytes(40_000))
    writer.write(b"end")
    await writer.drain()
    writer.close()


@pytest.mark.engines(*LOOPS)
@pytest.mark.uncipherable("an application is served in this process")
def test_a_stream_arrives_whole_whatever_an_application_says_of_messages(engine):
    """Nothing is left out of it, and no rate of messages bounds its pieces."""
    app = penstock.App(slow_consumer="drop_oldest", max_message_rate="2/s", on_message_rate="close", write_max=2 * SIZE)
    app.add(service_of(_flood, kind="streams"), name="flood", bind="tcp://127.0.0.1:0")

    async def ask():
        async with app.serve(engine=engine.name) as server:
            reader, writer = await asyncio.open_connection(
                *server.servers["flood"].addresses[0].removeprefix("tcp://").split(":")
            )
            for _ in range(6):
                writer.write(b"x")
                assert b"x" == await reader.readexactly(1)
            writer.write(b"!")
            data = await reader.read()
            writer.close()
            return len(data), data[-3:]

    with asyncio.Runner(loop_factory=engine.loop_factory) as runner:
        assert (SIZE + 3, b"end") == runner.run(asyncio.wait_for(ask(), PATIENCE_S))
