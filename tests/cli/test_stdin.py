"""Standard input for an event loop: it never blocks, and the descriptor stays as it was."""

import asyncio
import os

import pytest

from penstock.cli.stdin import READ_BYTES, InputReader
from penstock.errors import PenstockError


@pytest.fixture
def pipe():
    """A pipe, as read end and write end."""
    ends = os.pipe()
    yield ends
    for fd in ends:
        try:
            os.close(fd)
        except OSError:
            continue


async def test_bytes_are_read_as_they_come(pipe):
    """And the end is empty."""
    read, write = pipe
    reader = InputReader(read)
    waiting = asyncio.create_task(reader.read())
    await asyncio.sleep(0)
    os.write(write, b"one")
    first = await waiting
    os.write(write, b"two")
    second = await reader.read()
    os.close(write)

    assert (b"one", b"two", b"") == (first, second, await reader.read())


async def test_the_descriptor_keeps_its_mode(pipe):
    """A terminal's mode is shared with the shell."""
    read, write = pipe
    os.write(write, b"x")
    before = os.get_blocking(read)
    await InputReader(read).read()

    assert before is os.get_blocking(read) is True


async def test_a_regular_file_is_read_to_its_end(tmp_path):
    """epoll does not take it; reading it does not block either."""
    path = tmp_path / "input"
    path.write_bytes(b"x" * (READ_BYTES + 1))
    fd = os.open(path, os.O_RDONLY)
    reader = InputReader(fd)

    assert [READ_BYTES, 1, 0] == [len(await reader.read()) for _ in range(3)]
    os.close(fd)


async def test_a_cancelled_read_takes_nothing(pipe):
    """The next one gets it all."""
    read, write = pipe
    reader = InputReader(read)
    waiting = asyncio.create_task(reader.read())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    os.write(write, b"kept")

    assert b"kept" == await reader.read()


async def test_a_descriptor_that_does_not_block_is_waited_for(pipe):
    """Somebody who shares it may have set it so, and may have taken what there was."""
    read, write = pipe
    os.set_blocking(read, False)
    reader = InputReader(read)
    taken = iter([BlockingIOError, None])
    take = reader._take

    def sometimes_late():
        error = next(taken, None)
        if error is not None:
            raise error
        return take()

    reader._take = sometimes_late
    os.write(write, b"x")

    assert b"x" == await reader.read()


async def test_what_cannot_be_read_is_said(tmp_path):
    """A directory as standard input."""
    fd = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(PenstockError) as caught:
        await InputReader(fd).read()
    os.close(fd)

    assert "cannot read standard input: is a directory" == str(caught.value)


class LoopWithoutReaders(asyncio.SelectorEventLoop):
    """A loop as on Windows, which cannot watch a file."""

    def add_reader(self, fd, callback, *args):
        raise NotImplementedError


def test_a_loop_that_cannot_watch_files_reads_on_a_thread(pipe, tmp_path):
    """Errors arrive like bytes."""
    read, write = pipe
    os.write(write, b"x")
    directory = os.open(tmp_path, os.O_RDONLY)

    async def scenario():
        first = await InputReader(read).read()
        with pytest.raises(PenstockError):
            await InputReader(directory).read()
        return first

    with asyncio.Runner(loop_factory=LoopWithoutReaders) as runner:
        assert b"x" == runner.run(scenario())
    os.close(directory)
