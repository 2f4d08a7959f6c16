"""A peer that stops reading and reads again: as many replies as messages, in their order, however they are made."""

import asyncio
import contextlib
import socket
import time

import pytest

import penstock
from penstock.testing.peers import read_to_end

MESSAGES = 200
FILLING = b"." * 6_000

pytestmark = pytest.mark.engines("pure", "uvloop", "native", "attached", "blocking")


@penstock.on_message(codec="lines")
async def at_once(message):
    return message + FILLING


@penstock.on_message(codec="lines")
async def after_a_turn(message):
    await asyncio.sleep(0)
    return message + FILLING


@penstock.on_message(codec="lines")
def plain(message):
    return message + FILLING


@penstock.on_connection(codec="lines")
async def conversation(conn):
    async for message in conn:
        await conn.send(message + FILLING)


class Callbacks(penstock.Handler):
    async def on_message(self, conn, message):
        return message + FILLING


FORMS = [at_once, after_a_turn, plain, conversation, penstock.as_service(Callbacks, codec="lines")]


@pytest.mark.parametrize("one_by_one", [True, False])
@pytest.mark.parametrize("service", FORMS, ids=["at once", "after a turn", "def", "conversation", "callbacks"])
def test_no_reply_is_lost_while_the_peer_does_not_read(serve, engine, service, one_by_one):
    """The messages come in one segment, or one after the other, so that most are a step of their own."""
    if engine.name == "blocking" and service is not plain:
        pytest.skip("coroutines need a loop")
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(serve(service))
        server.shrink_send_buffers(8192)
        peer = stack.enter_context(server.dial(receive_buffer_bytes=4096))
        lines = [b"%d\n" % number for number in range(MESSAGES)]
        for line in lines if one_by_one else [b"".join(lines)]:
            peer.sendall(line)
            time.sleep(0.001)  # a pace, at which most messages are read one by one
        peer.shutdown(socket.SHUT_WR)

        answers = read_to_end(peer).splitlines()
        assert [b"%d" % number for number in range(MESSAGES)] == [answer.partition(b".")[0] for answer in answers]
        assert {len(FILLING)} == {answer.count(b".") for answer in answers}
