"""Did you mean: near words are found, far ones are not offered."""

import pytest

from penstock.suggest import did_you_mean, nearest


@pytest.mark.parametrize(
    ("word", "known", "meant"),
    [
        ("bakclog", ["backlog", "bind"], "backlog"),
        ("--timeout-idel", ["--timeout-idle", "--timeout-write"], "--timeout-idle"),
        ("TIMEOUT-IDLE", ["timeout_idle"], "timeout_idle"),
        ("max_connections", ["threads", "bind"], None),
        ("", ["bind"], None),
        ("bind", [], None),
    ],
)
def test_the_nearest_known_word_is_named(word, known, meant):
    """Case, hyphens and underscores do not count."""

    assert meant == nearest(word, known)


def test_the_question_is_part_of_a_sentence():
    """Or it is nothing at all."""

    assert "; did you mean echo?" == did_you_mean("ehco", ["echo", "chat"])
    assert "" == did_you_mean("xyzzy", ["echo", "chat"])
