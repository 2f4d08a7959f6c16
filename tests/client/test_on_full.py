"""What gives way when a server does not read: a client's word for one message, as a server's."""

import asyncio
import socket

import pytest

import penstock
from penstock import connect
from penstock.config import Limits
from penstock.testing.peers import PATIENCE_S

COUNT, SIZE = 2000, 1000  # 2 MB in all
LIMITS = Limits(write_high_bytes=64 * 1024, write_low_bytes=16 * 1024, write_max_bytes=256 * 1024)


@pytest.mark.parametrize("word", ["drop", "drop_oldest", "latest", "raise"])
async def test_the_word_of_a_message_says_what_gives_way(tmp_path, word):
    """Those that arrive do so whole and in order; the oldest or the newest are missing, or their sender was told."""
    told = 0
    with socket.create_server(str(tmp_path / "s"), family=socket.AF_UNIX) as listener:
        async with await connect(f"unix:{tmp_path}/s", limits=LIMITS) as conn:
            peer, _ = listener.accept()
            for number in range(COUNT):
                message = b"%0*d" % (SIZE - 1, number)
                key = {"key": number % 5} if word == "latest" else {}
                try:
                    if number % 2:
                        conn.post(message, on_full=word, **key)
                    else:
                        conn.post_frame(conn.frame(message), on_full=word, **key)
                except penstock.QueueFullError:
                    told += 1
            with peer:
                conn.send_eof()
                data = await asyncio.wait_for(asyncio.to_thread(lambda: all_of(peer)), PATIENCE_S)
    heard = [int(line) for line in data.splitlines()]

    assert sorted(set(heard)) == heard
    assert {SIZE} == {len(line) for line in data.splitlines(keepends=True)}
    assert 0 < len(heard) < COUNT
    if word in ("drop_oldest", "latest"):
        assert [*range(COUNT - 5, COUNT)] == heard[-5:]
    else:
        assert [*range(len(heard))] == heard
    assert told == (COUNT - len(heard) if word == "raise" else 0)


def all_of(peer):
    """All that comes until EOF."""
    with peer.makefile("rb") as file:
        return file.read()
