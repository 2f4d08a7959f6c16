"""What is said of a load that was itself too slow, and of times."""

from collections import Counter

import pytest

from penstock.cli.bench.report import as_data, lines_of, time_text
from penstock.load.measured import Measured, merged
from penstock.load.pace import Pace

from .conftest import load_of

RATE = {"pace": Pace(9, 9)}
FIRST = "the load generator used 97% of a core: the server may be faster than this; "


def warning_of(measured, **asked):
    """Return whether it was the bottleneck, and the line below the report that says so."""
    load = load_of("tcp://127.0.0.1:9000", **asked)
    lines = list(lines_of(load, measured, 6))
    return as_data(load, measured)["is_bottleneck"], [line for line in lines if " of a core: " in line]


@pytest.mark.parametrize("share", [0.0, 0.5, 0.899])
def test_a_load_that_rests_was_not_the_bottleneck(share):
    """It could have sent more."""
    assert (False, []) == warning_of(Measured(seconds=1.0, cpu_share=share, compiled=True))


@pytest.mark.parametrize(
    ("cores", "compiled", "asked", "advice"),
    [
        (2, True, {}, "use more --processes, or use more --depth"),
        (2, True, RATE, "use more --processes, or use a lower --rate"),
        (1, True, {}, "use more --depth"),
        (1, False, {}, "use more --depth, or the compiled load, of the native engine, takes less"),
    ],
)
def test_a_load_that_took_its_whole_core_says_so(monkeypatch, cores, compiled, asked, advice):
    """It could not have gone faster; and what can be done."""
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    measured = Measured(seconds=1.0, cpu_share=0.97, compiled=compiled)

    assert (True, [FIRST + advice]) == warning_of(measured, **asked)


def test_of_several_processes_the_busiest_counts(monkeypatch):
    """The others may rest."""
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    measured = merged([Measured(cpu_share=0.2, compiled=True), Measured(cpu_share=0.95, compiled=True)])
    line = "the busiest process of the load used 95% of a core: the server may be faster than this; use more --depth"

    assert (True, [line]) == warning_of(measured)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0 µs"), (0.000_123_4, "123 µs"), (0.001, "1.00 ms"), (0.123_456, "123.46 ms"), (1.5, "1.500 s")],
)
def test_times_have_the_unit_that_suits_them(seconds, text):
    """For people."""
    assert text == time_text(seconds)


def test_without_a_reply_no_time_is_told():
    """A table of noughts would say that the server is fast."""
    measured = Measured(errors=Counter({"ECONNREFUSED": 3}))
    lines = list(lines_of(load_of("tcp://127.0.0.1:9"), measured, 6))

    assert ["errors      3", "           3  ECONNREFUSED"] == lines[3:5]
    assert [] == [line for line in lines if "latency" in line or "p50" in line]
