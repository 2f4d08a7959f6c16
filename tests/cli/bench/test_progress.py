"""The line that says how a load goes, on the screen of a terminal."""

import io
import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.cli.bench.progress import make_progress
from penstock.load.measured import Glimpse

from .conftest import load_of

ADDRESS = "tcp://127.0.0.1:9"

LINE = re.compile(r" +[0-9.]+ of 60 s  [0-9,]+ replies/s  mean [0-9.]+ (µs|ms|s)  0 errors")


@pytest.fixture
def screen(terminal, serve):
    """A function that begins a load on a terminal of so many columns, without rich unless it is asked for."""

    def start(*arguments, columns=80, rich=False):
        program = "import sys\n" if rich else "import sys\nsys.modules['rich'] = None\n"
        program += "from penstock.cli.main import main\nsys.exit(main())"
        return terminal(sys.executable, "-c", program, "bench", serve("app:echo").address, *arguments, columns=columns)

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


def test_where_there_is_no_terminal_there_are_lines_now_and_then(monkeypatch):
    """Ten of them at most in a run of a known length, none in a short one; they stay."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    short, long = make_progress(load_of(ADDRESS, duration_s=1.5)), make_progress(load_of(ADDRESS, duration_s=60.0))
    for step in range(1, 4):
        short.show(Glimpse(step / 2, 10 * step, 0.1, 0))
    quiet = stream.getvalue()
    for second in range(1, 61):
        long.show(Glimpse(float(second), 10 * second, 0.1, 0))
    long.end()
    lines = stream.getvalue().splitlines()

    assert ("", 10) == (quiet, len(lines))
    assert "6.0 of 60 s  10 replies/s  mean 1.67 ms  0 errors" == lines[0]


def test_a_count_without_a_time_has_lines_too(monkeypatch):
    """Every two seconds."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    progress = make_progress(load_of(ADDRESS, count=100, duration_s=None))
    for second in range(1, 7):
        progress.show(Glimpse(float(second), 1, 0.1, 0))

    assert ["2.0 s", "4.0 s", "6.0 s"] == [line[:5] for line in stream.getvalue().splitlines()]


def test_with_rich_there_is_a_live_view(screen):
    """How far, how fast, how that has changed; in its place comes the report."""
    pytest.importorskip("rich")
    shown = screen("--duration", "60s", "-c", "2", rich=True)
    words = {"replies/s", "p99", "p50", "replies", "errors"}
    shown.wait_until(lambda: words <= {line.split()[0] for line in shown.lines})
    shown.wait_until(lambda: any("of 60 s" in line for line in shown.lines))
    shown.type("\x03")

    assert 130 == shown.end()
    assert "interrupted: this is what was seen until then" in shown.lines
    assert not [line for line in shown.lines if "of 60 s" in line]


@given(st.lists(st.floats(0, 1e12), max_size=50), st.integers(1, 60))
def test_a_sparkline_is_as_high_as_what_it_shows(values, width):
    """One mark for each of the last values; the highest is full, and what is nothing is blank."""
    pytest.importorskip("rich")
    from penstock.cli.bench.live import sparkline

    drawn = sparkline(values, width)
    shown = values[-width:]

    assert len(shown) == len(drawn)
    assert all(drawn[at] == "█" for at, value in enumerate(shown) if value == max(shown) > 0)
    assert all(drawn[at] == " " for at, value in enumerate(shown) if value == 0)
