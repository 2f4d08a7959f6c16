"""The pure engine's own transport: what it saves, and what it does about a bug."""

import asyncio

import penstock
from penstock.codecs import Lines
from penstock.testing.peers import dial


class BrokenCodec(Lines):
    """Has a bug that a certain line meets."""

    def decode_many(self, data, limit):
        if b"bug" in data:
            raise ValueError("a bug")
        return super().decode_many(data, limit)


def echo(_conn, message):
    return message


async def exchange(server, *lines):
    """Connect, say each of the lines in turn; return what came for each."""
    reader, writer = await asyncio.open_connection(*server.addresses[0].removeprefix("tcp://").split(":"))
    answers = []
    for line in lines:
        writer.write(line)
        answers.append(await reader.read(100))
    writer.close()
    return answers


async def test_an_accepted_connection_makes_no_task():
    """On asyncio's loop, a ``def`` handler's connection is served without one from its accept to its end."""
    seen = []

    def count(message):
        seen.append(len(asyncio.all_tasks()))
        return message

    async with penstock.serve(count, bind="tcp://127.0.0.1:0", engine="pure") as server:
        before = len(asyncio.all_tasks())
        await exchange(server, b"1\n", b"2\n")

    assert [before] * 2 == seen


async def test_a_bug_of_a_codec_ends_its_connection_alone():
    """The connection ends with ``codec_error``, the others go on; the exception handler of the loop is not told."""
    reported = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reported.append(str(context["exception"])))
    service = penstock.on_message(echo, codec=BrokenCodec())
    async with penstock.serve(service, bind="tcp://127.0.0.1:0", engine="pure") as server:
        assert [b"before\n", b""] == await exchange(server, b"before\n", b"bug\n")
        assert [b"after\n"] == await exchange(server, b"after\n")
        await server.wait_until(lambda server: server.stats.closed["codec_error"] == 1)

    assert [] == reported


async def test_all_who_wait_in_the_backlog_are_taken():
    """However many they are, and whether fewer or more than were taken the time before."""
    async with penstock.serve(echo, bind="tcp://127.0.0.1:0", engine="pure", backlog=128) as server:
        for count in (1, 40, 2, 17):
            server.suspend()
            peers = [dial(server.addresses[0]) for _ in range(count)]
            server.resume()
            await server.wait_connections(count)
            for peer in peers:
                peer.close()
            await server.wait_connections(0)

        assert 60 == server.stats.accepted
