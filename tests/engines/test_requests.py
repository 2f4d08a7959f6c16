"""A request to a peer that goes: whoever waits for the reply is told."""

import pytest

import penstock
from penstock.errors import RequestLostError
from penstock.testing.engines import ALL_ENGINES, LOOPS
from penstock.testing.peers import dial, reset
from penstock.testing.served import served

engines = pytest.mark.parametrize(
    "engine", [each for each in ALL_ENGINES if each.label in LOOPS], ids=lambda each: each.label
)


@engines
def test_a_request_whose_peer_resets_ends_though_it_has_no_time(engine):
    """The handler waits for nothing else, and its connection for the handler."""
    if engine.missing:
        pytest.skip(engine.missing)
    outcomes = []

    @penstock.on_connection(codec="lines")
    async def ask(conn):
        try:
            outcomes.append(await conn.request(b"one"))
        except RequestLostError as error:
            outcomes.append(error.reason)

    with served(ask, engine=engine.name, loop_factory=engine.loop_factory, bind="tcp://127.0.0.1:0") as server:
        peer = dial(server.address)
        assert b"one\n" == peer.recv(100)
        reset(peer)
        reasons = list(server.reasons(1))

    assert (["reset"], ["reset"]) == (outcomes, reasons)
