"""Did you mean: near words are found, far ones are not offered."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.suggest import did_you_mean, distance, nearest


@pytest.mark.parametrize(
    ("word", "known", "meant"),
    [
        ("bakclog", ["backlog", "bind"], "backlog"),
        ("--timeout-idel", ["--timeout-idle", "--timeout-write"], "--timeout-idle"),
        ("TIMEOUT-IDLE", ["timeout_idle"], "timeout_idle"),
        ("max_connections", ["threads", "bind"], None),
        ("", ["bind"], None),
        ("bind", [], None),
        ("--loop", ["--allow", "--log-level"], None),
        ("json", ["raw", "lines", "json-lines"], "json-lines"),
        ("--back", ["--backlog", "--bind"], "--backlog"),
        ("--idle", ["--timeout-idle", "--timeout-write"], "--timeout-idle"),
        ("--timeout", ["--timeout-idle", "--timeout-write"], None),
        ("lo", ["lobby"], None),
        ("PENSTOCK_FOO", ["PENSTOCK_ALLOW", "PENSTOCK_BIND"], None),
        ("PENSTOCK_BAKLOG", ["PENSTOCK_BACKLOG"], "PENSTOCK_BACKLOG"),
        ("x" * 5000, ["x" * 4998], None),
        ("onMessage", ["on_message", "on_close"], "on_message"),
    ],
)
def test_the_nearest_known_word_is_named(word, known, meant):
    """Case, hyphens and underscores do not count."""

    assert meant == nearest(word, known)


def test_the_question_is_part_of_a_sentence():
    """Or it is nothing at all."""

    assert "; did you mean echo?" == did_you_mean("ehco", ["echo", "chat"])
    assert "" == did_you_mean("xyzzy", ["echo", "chat"])


_words = st.text("abc-", max_size=6)


@given(one=_words, other=_words)
def test_a_distance_is_one(one, other):
    """Nothing but a word itself is at 0, both ways are as long, and the lengths bound it."""
    found = distance(one, other)

    assert (found == 0) is (one == other)
    assert distance(other, one) == found
    assert abs(len(one) - len(other)) <= found <= max(len(one), len(other))


@pytest.mark.parametrize(
    ("one", "other", "wrong"), [("ehco", "echo", 1), ("lop", "loop", 1), ("kitten", "sitting", 3), ("", "abc", 3)]
)
def test_what_is_wrong_is_counted(one, other, wrong):
    """Replaced, left out, too many, swapped."""
    assert wrong == distance(one, other)
