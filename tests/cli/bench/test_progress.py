"""The line that says how a load goes, on the screen of a terminal."""

import io
import re
import sys

import pytest

from penstock.cli.bench.progress import Progress
from penstock.load.measured import Glimpse

LINE = re.compile(r" +[0-9.]+ of 60 s  [0-9,]+ replies/s  mean [0-9.]+ (µs|ms|s)  0 errors")


@pytest.fixture
def screen(terminal, serve):
    """A function that begins a load on a terminal of so many columns."""

    def start(*arguments, columns=80):
        command = [sys.executable, "-m", "penstock", "bench", serve("app:echo").address, *arguments]
        return terminal(*command, columns=columns)

    return start


def test_one_line_is_written_again_and_again(screen):
    """It is all there is, and CTRL+C puts the report in its place."""
    shown = screen("--duration", "60s", "-c", "2")
    seen = set()
    while len(seen) < 3:
        assert shown.read(), shown.lines
        assert len(shown.lines) <= 1, shown.lines
        seen.update(filter(LINE.fullmatch, shown.lines))  # a terminal hands on what it has, perhaps half a line
    shown.type("\x03")

    assert 130 == shown.end()
    assert "interrupted: this is what was seen until then" in shown.lines
    assert not any(LINE.search(line) for line in shown.lines)


def test_what_is_wider_than_the_terminal_is_cut(screen):
    """A line that went on in the next one could not be written anew."""
    shown = screen("--duration", "60s", "-c", "2", columns=30)
    seen = set()
    while len(seen) < 3:
        assert shown.read(), shown.lines
        assert len(shown.lines) <= 1, shown.lines
        seen.update(line for line in shown.lines if len(line) == 29)
    shown.type("\x03")

    assert 130 == shown.end()


def test_nothing_is_left_of_it_when_the_time_is_over(screen):
    """Above the report there is nothing."""
    shown = screen("--duration", "300ms", "-c", "2")

    assert 0 == shown.end()
    assert shown.lines[0].endswith(" over raw: 2 connections, depth 1, closed loop, 0.3 s")


def test_where_there_is_no_terminal_there_is_no_line(monkeypatch):
    """Not even one to be taken away."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    progress = Progress(1.0)
    progress.show(Glimpse(0.5, 10, 0.1, 0))
    progress.end()

    assert "" == stream.getvalue()
