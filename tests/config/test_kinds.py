"""Kinds: what each reads from text and from TOML, and that what it writes reads back."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.config import Bind, Choice, Duration, Flag, Integer, Mode, Repeated, Size, SystemDuration, Text
from penstock.errors import ConfigurationError


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Duration(), "250ms", 0.25),
        (Duration(), "none", None),
        (Duration(zero=True), "0s", 0.0),
        (SystemDuration(max_ticks=32767), "32767s", 32767.0),
        (SystemDuration(tick_s=0.001), "2147483647ms", 2147483.647),
        (SystemDuration(tick_s=0.001, never=False), "7ms", 0.007),
        (Size(), "64KiB", 65536),
        (Integer(1, 10), "10", 10),
        (Integer(-5, 10), "-5", -5),
        (Mode(), "0600", 0o600),
        (Mode(), "0o660", 0o660),
        (Mode(), "777", 0o777),
        (Choice(("a", "b")), "b", "b"),
        (Flag(), "Yes", True),
        (Flag(), "off", False),
        (Text(), "any thing", "any thing"),
        (Bind(), "tcp://127.0.0.1:9000", "tcp://127.0.0.1:9000"),
        (Repeated(Integer(1, 9)), " 1  2\t3 ", (1, 2, 3)),
    ],
)
def test_text_is_read(kind, text, value):
    """Options and variables hand over text."""

    assert value == kind.parse(text)


@pytest.mark.parametrize(
    ("kind", "text", "problem"),
    [
        (Duration(), "5 parsecs", "'5 parsecs' is not a duration: write a number with ms, s, m, h or d, or none"),
        (Duration(), "10", "'10' is not a duration"),
        (Duration(), "-1s", "'-1s' is not a duration"),
        (Duration(), "0s", "0 would end everything at once; none turns it off"),
        (Duration(never=False), "none", "none is not allowed here: write a number with ms, s, m, h or d: 250ms"),
        (Duration(never=False), "1", "'1' is not a duration: write a number with ms, s, m, h or d: 250ms"),
        (Duration(), "4000d", "seconds is not from 0 to"),
        (SystemDuration(), "0s", "0 would end everything at once; none turns it off"),
        (SystemDuration(), "500ms", "500ms is not a duration in whole seconds from 1s to 2147483647s, or none"),
        (SystemDuration(), "1.5s", "1500ms is not a duration in whole seconds"),
        (SystemDuration(max_ticks=32767), "10h", "10h is not a duration in whole seconds from 1s to 32767s, or none"),
        (SystemDuration(tick_s=0.001), "30d", "30d is not a duration in whole 1ms steps from 1ms to 2147483647ms"),
        (SystemDuration(tick_s=0.001), "0.0001s", "0.0001s is not a duration in whole 1ms steps"),
        (Size(), "10mbb", "'10mbb' is not a size: write a whole number of bytes"),
        (Size(1, 1024), "1MiB", "1MiB is not a size from 1 to 1KiB"),
        (Integer(1, 10), "11", "11 is not a whole number from 1 to 10"),
        (Integer(1, 10), "ten", "'ten' is not a whole number from 1 to 10"),
        (Integer(1, 10), "1_0", "'1_0' is not a whole number"),
        (Integer(1, 10), "\u0661", "is not a whole number"),
        (Integer(1, 10), "9" * 5000, "is not a whole number from 1 to 10"),
        (Mode(), "999", "'999' is not permissions in octal"),
        (Mode(), "06000", "'06000' is not permissions in octal"),
        (Choice(("console", "json")), "jsn", "'jsn' is not one of console, json; did you mean json?"),
        (Flag(), "maybe", "'maybe' is not true or false (nor yes, no, on, off, 1, 0)"),
        (Text(), "a\0b", "has a NUL character in it"),
        (Repeated(Integer(1, 9)), "  ", "at least one is needed"),
        (Repeated(Integer(1, 9)), "1 x", "'x' is not a whole number from 1 to 9"),
    ],
)
def test_text_that_is_no_value_is_refused_with_what_is_allowed(kind, text, problem):
    """One sentence, on one line, not longer for a longer value."""
    with pytest.raises(ConfigurationError) as caught:
        kind.parse(text)

    assert problem in caught.value.problem
    assert "\n" not in caught.value.problem
    assert len(caught.value.problem) < 250


@pytest.mark.parametrize(
    ("kind", "toml", "value"),
    [
        (Duration(), '"5m"', 300.0),
        (Size(), '"64KiB"', 65536),
        (Size(), "512", 512),
        (Integer(1, 10), "3", 3),
        (Mode(), '"0660"', 0o660),
        (Flag(), "true", True),
        (Repeated(Text()), '"one"', ("one",)),
        (Repeated(Text()), '["one", "two words"]', ("one", "two words")),
    ],
)
def test_toml_is_read(kind, toml, value):
    """TOML has types of its own; durations and permissions are written in quotes."""

    assert value == kind.from_toml(tomllib.loads(f"x = {toml}")["x"])


@pytest.mark.parametrize(
    ("kind", "toml", "problem"),
    [
        (Duration(), "300", 'expected a duration in quotes ("10s"), got 300'),
        (Duration(), "true", 'expected a duration in quotes ("10s"), got true'),
        (Size(), "1.5", "got 1.5"),
        (Size(), "0", "0 is not a size from 1 to"),
        (Integer(1, 10), '"3"', "'3' is not a whole number from 1 to 10"),
        (Integer(1, 10), "true", "True is not a whole number from 1 to 10"),
        (Mode(), "600", 'expected permissions in octal and in quotes ("0600"), got 600'),
        (Flag(), "1", "1 is not true or false"),
        (Text(), "1", "expected text, got 1"),
        (Repeated(Text()), "[]", "at least one is needed"),
        (Repeated(Text()), "[1]", "expected text, got 1"),
        (Duration(), "[1]", "got an array"),
        (Duration(), "{a = 1}", "got a table"),
        (Duration(), "2026-11-21", "got a date"),
    ],
)
def test_toml_of_another_type_is_refused(kind, toml, problem):
    """Nothing is converted silently: 600 would be other permissions than the ones meant."""
    with pytest.raises(ConfigurationError) as caught:
        kind.from_toml(tomllib.loads(f"x = {toml}")["x"])

    assert problem in caught.value.problem


durations = st.none() | st.floats(min_value=0.001, max_value=1e8)
values = st.one_of(
    st.tuples(st.just(Duration()), durations),
    st.tuples(st.just(Size(0)), st.integers(0, 2**36)),
    st.tuples(st.just(Integer(-100, 100)), st.integers(-100, 100)),
    st.tuples(st.just(Mode()), st.integers(0, 0o777)),
    st.tuples(st.just(Choice(("a", "b-c"))), st.sampled_from(["a", "b-c"])),
    st.tuples(st.just(Flag()), st.booleans()),
)


@given(values)
def test_what_is_written_reads_back(case):
    """As text and as TOML: ``--print-config`` prints a file that configures the same."""
    kind, value = case

    assert value == kind.parse(kind.format(value))
    assert value == kind.from_toml(tomllib.loads(f"x = {kind.toml(value)}")["x"])


@given(st.lists(st.text(st.characters(blacklist_categories=["Cs", "Cc"])), min_size=1))
def test_texts_read_back_from_toml(texts):
    """Quotes and backslashes are escaped."""
    kind = Repeated(Text())
    value = tuple(texts)

    assert value == kind.from_toml(tomllib.loads(f"x = {kind.toml(value)}")["x"])
