"""Rounds into figures: ratios are taken within a round, then their median."""

import pytest

from bench.rows import Judgement, Limit, judge
from bench.stats import Results, Spread, number


def results(skipped=(), failed=(), **figures):
    """Return results of one scenario: the figures of each contestant, round by round; None for a round without."""
    records = [
        {"contestant": key, "round": n, "value": value, "latency_ns": {"p99": value * 10}}
        for key, values in figures.items()
        for n, value in enumerate(values)
        if value is not None
    ]
    return Results({"records": records, "skipped": dict(skipped), "failed": dict(failed)})


def test_a_spread_is_the_median_and_the_two_ends():
    """In whatever order the rounds came."""
    assert Spread(3, 1, 9, 1, 9) == Spread.of([9, 1, 3])


@pytest.mark.parametrize(
    ("count", "low", "high"), [(1, 1, 1), (5, 1, 5), (8, 1, 8), (9, 2, 8), (12, 3, 10), (20, 6, 15)]
)
def test_a_median_is_as_sure_as_the_number_of_rounds_allows(count, low, high):
    """The tables of the sign test, turned round, at 95 %."""
    spread = Spread.of(range(count, 0, -1))

    assert (low, high) == (spread.low, spread.high)


def test_a_ratio_is_taken_within_each_round():
    """A round in which the whole machine was three times slower changes nothing."""
    seen = results(ours=[2, 6, 2], yardstick=[4, 12, 4])

    assert Spread.of([0.5]) == seen.ratio("ours", "yardstick")


def test_a_round_without_both_is_left_out():
    """One that failed half-way keeps what it has."""
    seen = results(ours=[2, None, 4], yardstick=[4, 4, None])

    assert Spread.of([0.5]) == seen.ratio("ours", "yardstick")
    assert results(ours=[2, None], yardstick=[None, 4]).ratio("ours", "yardstick") is None


def test_nothing_is_divided_by_a_yardstick_that_did_not_grow():
    """Memory that did not grow at all is 0, or below: no ratio to that means anything."""
    assert results(ours=[2.0], yardstick=[0.0]).ratio("ours", "yardstick") is None


def test_a_field_beside_the_figure_has_a_median_too():
    """Found by its path; None where no record has it."""
    seen = results(ours=[1, 5, 2])

    assert 20 == seen.median("ours", "latency_ns", "p99")
    assert seen.median("ours", "latency_ns", "p50", "deeper") is None


@pytest.mark.parametrize(
    ("ours", "judgement", "text"),
    [
        ([2, 4], Judgement.MET, "met"),
        ([1.8, 4], Judgement.MET, "met"),
        ([2.4, 4.8], Judgement.MISSED, "missed by 20 %"),
        ([2.2, 3.6, 1.8], Judgement.OPEN, "cannot tell: under, within the spread"),
        ([2.2, 3.6, 4.4], Judgement.OPEN, "cannot tell: 10 % over, within the spread"),
    ],
)
def test_a_limit_is_met_or_missed_by_so_much_or_it_cannot_be_told(ours, judgement, text):
    """At most means: up to and including. What lies on both sides of the limit tells nothing."""
    verdict = judge(Limit("work", "ours", "yardstick", 0.5), {"work": results(ours=ours, yardstick=[4, 8, 4])})

    assert (judgement, text) == (verdict.judgement, verdict.text)


def test_a_limit_without_a_yardstick_is_held_against_the_figure_itself():
    """Bytes are bytes."""
    verdict = judge(Limit("work", "ours", None, 400), {"work": results(ours=[500, 500, 600])})

    assert (Judgement.MISSED, "missed by 25 %") == (verdict.judgement, verdict.text)


@pytest.mark.parametrize(
    ("load", "server", "bound"), [(0.99, 0.9, True), (0.99, 0.97, False), (0.9, 0.5, False), (None, None, False)]
)
def test_a_figure_is_bound_by_the_load_where_only_the_load_was_busy(load, server, bound):
    """The verdict says so too."""
    seen = results(ours=[1])
    seen.saved["records"][0].update({"load_cpu_share": load, "server_cpu_share": server})

    assert bound == seen.bound_by_load("ours")
    assert bound == ("bound by the load" in judge(Limit("work", "ours", None, 1), {"work": seen}).text)


def test_a_limit_that_was_not_measured_says_why():
    """No run, no contestant, or no yardstick: never "met"."""
    seen = results(ours=[1], skipped={"tokio": "cargo is not installed"}, failed={"bad": "wrong-byte"})
    texts = [
        judge(Limit(scenario, contestant, yardstick, 1), {"work": seen}).text
        for scenario, contestant, yardstick in [
            ("other", "ours", None),
            ("work", "ours", "tokio"),
            ("work", "bad", None),
            ("work", "absent", None),
        ]
    ]

    assert [
        "not measured: not in this run",
        "not measured: tokio: cargo is not installed",
        "not measured: bad: wrong-byte",
        "not measured: absent: not in this run",
    ] == texts


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.1374, "0.137"), (4.329, "4.33"), (22.86, "22.9"), (229_895, "229,895"), (-43.1, "-43.1")],
)
def test_numbers_have_three_digits_and_no_exponent(value, text):
    """As a person reads them."""
    assert text == number(value)
