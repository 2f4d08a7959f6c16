"""Which messages of a connection are handled in one turn of the loop, and how those are cut that follow."""

import asyncio

import penstock
from penstock.core.inbound import SINGLY_AFTER_SWITCH
from penstock.core.turns import FIRST_LOOK, LONGEST_S
from penstock.engines.loop import answering, push


async def exchange(server, data, replies):
    """Send lines; return so many of their replies."""
    reader, writer = await asyncio.open_connection(*server.addresses[0].removeprefix("tcp://").split(":"))
    writer.write(data)
    found = [await reader.readline() for _ in range(replies)]
    return found, reader, writer


async def test_a_batch_that_took_too_long_is_the_last_of_its_turn(monkeypatch):
    """What was cut and not handled waits for the next one, as what was not cut."""
    loop = asyncio.get_running_loop()
    now, turn, turns = 0.0, 0, []

    def count():
        nonlocal turn
        turn += 1
        if len(turns) < 64:
            loop.call_soon(count)

    def handle(message):
        nonlocal now
        if message == b"slow":
            now += 2 * LONGEST_S
            turns.append(turn)
        return message

    for module in (answering, push):
        monkeypatch.setattr(module, "monotonic", lambda: now)
    async with penstock.serve(handle, bind="tcp://127.0.0.1:0", engine="pure", codec="lines") as server:
        _, reader, writer = await exchange(server, b"quick\n" * 300, 300)  # its batches are as large as they may be
        count()
        writer.write(b"slow\n" * 64)
        found = [await reader.readline() for _ in range(64)]
        writer.close()

    assert [b"slow\n"] * 64 == found
    assert FIRST_LOOK == turns.count(turns[0])


async def test_where_a_handler_sets_another_one_each_time_every_message_is_cut_by_itself():
    """As after each change of a codec; however many there are of them, batches follow once it stops."""
    conns = []

    class Each(penstock.Handler[bytes]):
        def on_message(self, conn, message):
            conns.append(conn)
            conn.set_handler(Each())
            return message

    async with penstock.serve(Each, bind="tcp://127.0.0.1:0", engine="pure", codec="lines") as server:
        found, _, writer = await exchange(server, b"x\n" * 40 + b"rest", 40)
        few = conns[-1]._inbound.few
        writer.close()

    assert [b"x\n"] * 40 == found
    assert 0 <= few <= SINGLY_AFTER_SWITCH
