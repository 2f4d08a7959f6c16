"""Who is in and who was refused, as numbers: what enters leaves again, and nothing else changes."""

import dis

import pytest

from penstock.core.counts import Counts


def numbers(counts, *keys):
    return counts.open, counts.reserved, counts.handshakes, [counts.of_key(key) for key in keys]


def test_who_enters_is_counted_in_all_and_under_a_key():
    """A key of its own for each, or none."""
    counts = Counts()
    counts.enter("a", 0)
    counts.enter("a", 1)
    counts.enter(None, 0)

    assert (3, 1, 0, [2, 0]) == numbers(counts, "a", "b")


def test_who_has_left_is_not_remembered():
    """Not even as a zero: keys are the peers' to choose, and a flood of them must not stay."""
    counts = Counts()
    for key in ("a", "b", None):
        counts.enter(key, 0)
    for key in ("a", "b", None):
        counts.leave(key, 0)

    assert (0, 0, 0, [0, 0]) == numbers(counts, "a", "b")
    assert {} == counts._of_key


def test_whose_transport_is_gone_has_no_place_and_counts_under_its_key():
    """Until its handler has ended, too."""
    counts = Counts()
    counts.enter("a", 1)
    counts.part(1)

    assert ((0, 0, 0, [1]), 1) == (numbers(counts, "a"), counts.orphans)
    counts.leave("a", 1, orphan=True)
    assert ((0, 0, 0, [0]), 0) == (numbers(counts, "a"), counts.orphans)


def test_who_is_introduced_counts_under_another_key():
    """One whom a proxy let in is its client's: neither one more nor one less is in."""
    counts = Counts()
    counts.enter("proxy", 1)
    counts.move("proxy", 1, "a", 0)
    counts.enter("proxy", 0)
    counts.move("proxy", 0, "a", 0)
    counts.move("a", 0, "a", 1)
    counts.move("a", 0, None, 0)

    assert (2, 1, 0, [0, 1]) == numbers(counts, "proxy", "a")
    assert {"a": 1} == counts._of_key


@pytest.mark.parametrize("name", ["enter", "part", "leave", "move", "begin_handshake", "end_handshake"])
def test_no_signal_handler_runs_while_a_number_is_changed(name):
    """It runs where a function is called or a loop goes back, and what it ends is counted: a number read before is old.

    So between what is read and what is written there is neither.
    """
    names = [instruction.opname for instruction in dis.get_instructions(getattr(Counts, name))]

    assert [] == [name for name in names if name.startswith(("CALL", "PRECALL", "JUMP_BACKWARD", "FOR_ITER"))]
