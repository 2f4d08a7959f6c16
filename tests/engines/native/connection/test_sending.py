"""A group's message to members that are alike is sent in compiled code; each that is not is served as ever."""

import asyncio
import contextlib
import gc

import penstock
from penstock.codecs import Lines, Netstring
from penstock.engines.native.engine import new_event_loop

MEMBERS = 150  # some slices of them


def run(main):
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(asyncio.wait_for(main(), 20))
    gc.collect()


def published(handler, *, codecs=("lines", "netstring")):
    """An application in which the group's members alternate between codecs."""
    app = penstock.App()
    for codec in codecs:
        app.add(handler, name=codec, codec=codec, bind="tcp://127.0.0.1:0")
    return app.test(engine="native", max_connections=None, max_per_peer=None)


def test_each_member_gets_each_message_once_whatever_is_beside_it():
    """Codecs that alternate, one that is excluded, one that has left, one whose next message is not complete."""
    group = penstock.Group()

    class Member(penstock.Handler):
        def on_connect(self, conn):
            group.join(conn)

    async def main():
        async with published(Member) as t:
            conns = [await t.connect(("lines", "netstring")[number % 3 == 0]) for number in range(MEMBERS)]
            while len(group) < MEMBERS:
                await asyncio.sleep(0)
            joined = list(group)
            await conns[7].send_raw(b"not compl")
            while not any(conn.bytes_in for conn in joined):
                await asyncio.sleep(0)
            excluded, left = joined[70], joined[71]
            group.publish(b"one")
            group.publish(b"two", exclude=excluded)
            while group.stats.delivered < 2 * MEMBERS - 1:  # a slice may have ended before
                await asyncio.sleep(0)
            group.leave(left)
            left.close()
            group.publish(b"three")
            got = []
            for conn in conns:
                messages = []
                with contextlib.suppress(penstock.EndOfStreamError):
                    while messages[-1:] != [b"three"]:
                        messages.append(await conn.receive())
                got.append(messages)

            assert MEMBERS - 2 == got.count([b"one", b"two", b"three"])
            assert 1 == got.count([b"one", b"three"])
            assert 1 == got.count([b"one", b"two"])
            assert group.stats.deliveries == group.stats.delivered + group.stats.gone

    run(main)


def test_what_a_member_publishes_comes_behind_its_own_replies():
    """It is being answered: what is gathered for it leaves first, and the others are served meanwhile."""
    group = penstock.Group()

    class Member(penstock.Handler):
        def on_connect(self, conn):
            group.join(conn)

        def on_message(self, conn, message):
            conn.post(b"first")
            group.publish(message)
            return b"last"

    async def main():
        async with published(Member, codecs=("lines",)) as t:
            conns = [await t.connect("lines") for _ in range(5)]
            while len(group) < len(conns):
                await asyncio.sleep(0)
            await conns[2].send(b"hello")

            assert [b"first", b"hello", b"last"] == [await conns[2].receive() for _ in range(3)]
            assert [b"hello"] * 4 == [await conn.receive() for conn in conns if conn is not conns[2]]
            assert 5 == group.stats.delivered

    run(main)


def test_a_frame_is_of_its_codec_object():
    """Two objects of one class may frame differently: neither gets the other's frame."""
    group = penstock.Group()

    class Member(penstock.Handler):
        def on_connect(self, conn):
            group.join(conn)

    async def main():
        app = penstock.App()
        app.add(Member, name="lf", codec=Lines(), bind="tcp://127.0.0.1:0")
        app.add(Member, name="crlf", codec=Lines(newline="crlf"), bind="tcp://127.0.0.1:0")
        app.add(Member, name="quiet", codec=Lines(quiet_s=0.05), bind="tcp://127.0.0.1:0")
        app.add(Member, name="counted", codec=Netstring(), bind="tcp://127.0.0.1:0")
        async with app.test(engine="native") as t:
            names = ("lf", "lf", "crlf", "crlf", "quiet", "quiet", "counted", "lf")
            conns = [await t.connect(name, codec="raw") for name in names]
            while len(group) < len(conns):
                await asyncio.sleep(0)
            group.publish(b"hi")

            lf, crlf, counted = b"hi\n", b"hi\r\n", b"2:hi,"
            assert [lf, lf, crlf, crlf, lf, lf, counted, lf] == [await conn.receive() for conn in conns]

    run(main)
