"""Sizes and durations: one grammar, and what is written reads back as the same number."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import ConfigurationError
from penstock.units import (
    Rate,
    format_duration,
    format_rate,
    format_size,
    parse_count,
    parse_duration,
    parse_rate,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("512", 512),
        ("512B", 512),
        ("64KiB", 65536),
        ("1MiB", 1048576),
        ("2GiB", 2147483648),
        ("10kB", 10000),
        ("10MB", 10000000),
        ("1GB", 1000000000),
        ("64kib", 65536),
    ],
)
def test_a_size_is_a_number_of_bytes_with_a_unit(text, size):
    """Decimal units are powers of 1000, binary units powers of 1024, in any case."""

    assert size == parse_size(text)


@pytest.mark.parametrize(
    "text",
    ["", " ", "10mbb", "-1", "+1", "1 KiB", "KiB", "1.5MiB", "1e3", "0x10", "10K", "١٢", "9" * 19, "1_000", "5s"],
)
def test_what_is_not_a_size_is_refused_with_the_grammar(text):
    """The problem quotes the text and says what is allowed."""
    with pytest.raises(ConfigurationError) as caught:
        parse_size(text)

    assert f"{text!r} is not a size" in caught.value.problem
    assert "KiB" in caught.value.problem


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250ms", 0.25),
        ("7ms", 0.007),
        ("0s", 0.0),
        ("10s", 10.0),
        ("5m", 300.0),
        ("1h", 3600.0),
        ("1.5h", 5400.0),
        ("2d", 172800.0),
        ("none", None),
    ],
)
def test_a_duration_is_a_number_of_seconds_with_a_unit(text, seconds):
    """The result is in seconds; ``none`` is None."""

    assert seconds == parse_duration(text)


@pytest.mark.parametrize(
    "text",
    ["", "10", "5 parsecs", "-1s", "+1s", "1 s", "1.s", ".5s", "1M", "inf", "nan", "infs", "None", "1h30m", "1e3s"],
)
def test_what_is_not_a_duration_is_refused_with_the_grammar(text):
    """The problem quotes the text and says what is allowed."""
    with pytest.raises(ConfigurationError) as caught:
        parse_duration(text)

    assert f"{text!r} is not a duration" in caught.value.problem
    assert "250ms" in caught.value.problem


def test_an_endless_text_is_quoted_in_part():
    """A mistake of any length is one short line."""
    with pytest.raises(ConfigurationError) as caught:
        parse_size("x" * 10_000)

    assert len(caught.value.problem) < 200


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0"), (1, "1"), (1000, "1kB"), (1024, "1KiB"), (65536, "64KiB"), (65537, "65537"), (10**7, "10MB")],
)
def test_a_size_is_written_in_its_largest_exact_unit(size, text):
    """Nothing is rounded."""

    assert text == format_size(size)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "none"),
        (0.0, "0s"),
        (0.25, "250ms"),
        (0.0005, "0.0005s"),
        (1.5, "1500ms"),
        (10.0, "10s"),
        (90.0, "90s"),
        (300.0, "5m"),
        (7200, "2h"),
        (86400.0, "1d"),
    ],
)
def test_a_duration_is_written_in_its_largest_exact_unit(seconds, text):
    """Nothing is rounded."""

    assert text == format_duration(seconds)


@given(st.integers(0, 10**18 - 1))
def test_a_written_size_reads_back(size):
    """``parse_size(format_size(n)) == n``."""

    assert size == parse_size(format_size(size))


@given(st.one_of(st.floats(1e-6, 1e9), st.integers(0, 10**9)))
def test_a_written_duration_reads_back(seconds):
    """``parse_duration(format_duration(s)) == s`` from microseconds to decades."""

    assert seconds == parse_duration(format_duration(seconds))


@pytest.mark.parametrize("seconds", [-1.0, float("inf"), float("nan")])
def test_no_duration_is_negative_or_endless(seconds):
    """A limit that is off is None, never infinity."""
    with pytest.raises(ValueError, match="finite and not negative"):
        format_duration(seconds)


def test_no_size_is_negative():
    """A caller's mistake, not a user's."""
    with pytest.raises(ValueError, match="not negative"):
        format_size(-1)


@pytest.mark.parametrize(
    ("text", "rate"),
    [("100/s", Rate(100)), ("10/m", Rate(10, 60)), ("1/h", Rate(1, 3600)), ("5/d", Rate(5, 86400)), ("none", None)],
)
def test_a_rate_is_a_number_per_unit_of_time(text, rate):
    """Written, it reads back as the same."""

    assert rate == parse_rate(text)
    assert text == format_rate(rate)


@pytest.mark.parametrize("text", ["", "100", "0/s", "-1/s", "1.5/s", "10/ms", "10/5s", "1/s ", "9999999999/s"])
def test_what_is_no_rate_is_refused_with_the_grammar(text):
    """The error says what can be written."""

    with pytest.raises(ConfigurationError, match=r"is not a rate: write a whole number per s, m, h or d, or none"):
        parse_rate(text)


@pytest.mark.parametrize(
    ("text", "count"),
    [("0", 0), ("500", 500), ("1k", 1000), ("1K", 1000), ("2M", 2_000_000), ("2.5k", 2500), ("-3", -3), ("1G", 10**9)],
)
def test_a_count_may_have_a_unit(text, count):
    """Thousands, millions: zeros need not be counted."""
    assert count == parse_count(text)


@pytest.mark.parametrize("text", ["", "k", "1.5", "1.0001k", "1kk", "1 k", "1Ki", "1e3", "1_000", "9" * 19, "1m"])
def test_what_is_no_count_is_refused(text):
    """A part of one is none, and m is a minute."""
    with pytest.raises(ConfigurationError, match="is not a whole number: 500, 1k or 2M"):
        parse_count(text)
