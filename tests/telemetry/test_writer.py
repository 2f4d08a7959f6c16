"""The writer: whoever logs never waits, what cannot be kept is counted, what was kept arrives."""

import contextlib
import os
import threading

import pytest

from penstock.telemetry import LineWriter


@pytest.fixture
def pipe():
    """A pipe, as read end and write end."""
    read, write = os.pipe()
    yield read, write
    for fd in (read, write):
        with contextlib.suppress(OSError):
            os.close(fd)


def drain(read, write):
    """Close the write end and return all that is in the pipe."""
    os.close(write)
    data = b""
    while piece := os.read(read, 65536):
        data += piece
    return data


def fill(write):
    """Fill a pipe to the last byte."""
    os.set_blocking(write, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(write, b"." * 65536)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(write, b".")
    os.set_blocking(write, True)


def test_lines_arrive_in_order(pipe):
    """Every line, each with its newline."""
    read, write = pipe
    writer = LineWriter(write)
    for number in range(1000):
        writer.write(f"line {number} ☂")

    assert writer.close(10)
    assert "".join(f"line {number} ☂\n" for number in range(1000)).encode() == drain(read, write)
    assert 0 == writer.dropped


def test_lines_of_many_threads_do_not_interleave(pipe):
    """One call, one unit."""
    read, write = pipe
    writer = LineWriter(write)
    received = []
    reader = threading.Thread(target=lambda: received.append(drain_open(read)))
    reader.start()
    threads = [
        threading.Thread(target=lambda letter=letter: [writer.write(letter * 100) for _ in range(200)])
        for letter in "abcd"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.close(10)
    os.close(write)
    reader.join()

    assert {b"a" * 100, b"b" * 100, b"c" * 100, b"d" * 100} == set(received[0].splitlines())
    assert 800 == len(received[0].splitlines())


def drain_open(read):
    """Return all that comes through a pipe until its other end is closed."""
    return b"".join(iter(lambda: os.read(read, 65536), b""))


def test_a_reader_that_stalls_stops_nobody(pipe):
    """T-76: a full pipe costs lines, not time; memory is bounded; the loss is counted and told once it flows again."""
    read, write = pipe
    fill(write)
    writer = LineWriter(write, max_pending_bytes=1000)
    kept = sum(writer.write("x" * 99) for _ in range(10_000))

    assert 10_000 == kept + writer.dropped
    assert 10 <= kept <= 20  # what waits, and what the writer has in its hands

    received = []
    reader = threading.Thread(target=lambda: received.append(drain_open(read)))
    reader.start()
    while not writer.write("last"):  # until there is room again
        pass
    assert writer.close(10)
    os.close(write)
    reader.join()
    lines = received[0].lstrip(b".").decode().splitlines()
    assert "last" == lines[-1]
    told = [int(line.partition(" ")[0]) for line in lines if "log lines were dropped" in line]
    assert writer.dropped == sum(told)
    assert kept == lines.count("x" * 99)


def test_closing_does_not_wait_for_a_reader_that_stalls(pipe):
    """The process ends; its log does not hold it."""
    _, write = pipe
    fill(write)
    writer = LineWriter(write)
    writer.write("never read")

    assert not writer.close(0.01)


def test_a_closed_writer_drops():
    """After the end nothing is kept."""
    writer = LineWriter(os.open(os.devnull, os.O_WRONLY))
    writer.close(10)

    assert not writer.write("late")
    assert 1 == writer.dropped


@pytest.mark.parametrize("broken", ["/dev/full", "no reader", "closed"])
def test_a_descriptor_that_fails_costs_its_lines_and_nothing_else(broken, pipe):
    """T-75: a full disk, a reader that has gone, a descriptor that is closed."""
    read, write = pipe
    if broken == "/dev/full":
        if not os.path.exists("/dev/full"):
            pytest.skip("this system has no /dev/full")
        fd = os.open("/dev/full", os.O_WRONLY)
    else:
        fd = write
        os.close(read if broken == "no reader" else write)
    writer = LineWriter(fd)
    kept = [writer.write("lost") for _ in range(10)]

    assert all(kept)
    assert writer.close(10)
    assert 10 == writer.dropped


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_what_a_full_disk_cost_is_told_when_it_is_not_full_any_more(pipe):
    """The lines, and the line that was to tell of the first of them."""
    read, write = pipe
    fd = os.open("/dev/full", os.O_WRONLY)
    writer = LineWriter(fd)
    for count in range(1, 4):
        writer.write("lost")
        while writer.dropped < count:
            pass
    os.dup2(write, fd)
    writer.write("last")
    assert writer.close(10)
    os.close(write)
    os.close(fd)

    assert ["3 log lines were dropped: they could not be written in time", "last"] == drain_open(
        read
    ).decode().splitlines()


def test_a_descriptor_that_does_not_block_is_waited_for(pipe):
    """Somebody who shares it may have set it so; no line is lost for that."""
    read, write = pipe
    os.set_blocking(write, False)
    writer = LineWriter(write)
    for _ in range(3000):
        writer.write("x" * 99)
    received = []
    reader = threading.Thread(target=lambda: received.append(drain_open(read)))
    reader.start()
    assert writer.close(10)
    os.close(write)
    reader.join()

    assert 3000 == received[0].count(b"x" * 99 + b"\n")


def test_text_that_is_no_text_is_written_all_the_same(pipe):
    """A file name that is not UTF-8 reaches us with lone surrogates."""
    read, write = pipe
    writer = LineWriter(write)
    writer.write("\udcff")
    writer.close(10)

    assert b"\\udcff\n" == drain(read, write)
