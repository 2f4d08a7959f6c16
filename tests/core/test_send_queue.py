"""What waits for a slow peer: whole frames in order, of which the oldest that may be are given up, and no others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.send_queue import SendQueue
from penstock.errors import QueueFullError


def frame(number, size=4):
    return b"%0*d" % (size, number)


def taken(backlog):
    found = []
    while backlog:
        found.append(backlog.take())
    return found


def test_what_is_posted_while_there_is_room_waits_in_its_order():
    """Whatever the policy; nothing is told."""
    backlog = SendQueue()

    assert [None] * 3 == [backlog.admit(frame(number), "raise", 0) for number in range(3)]
    assert 12 == len(backlog)
    assert [frame(0), frame(1), frame(2)] == taken(backlog)


def test_drop_newest_gives_up_what_is_posted():
    """And says so; what waits is as it was."""
    backlog = SendQueue()
    backlog.admit(frame(0), "drop_newest", -4)

    assert (1, 4) == backlog.admit(frame(1), "drop_newest", 1)
    assert [frame(0)] == taken(backlog)


def test_drop_oldest_gives_up_as_many_as_make_room():
    """The first ones, whole: two of four bytes where five are too many."""
    backlog = SendQueue()
    for number in range(4):
        backlog.admit(frame(number), "drop_oldest", 0)

    assert (2, 8) == backlog.admit(frame(4), "drop_oldest", 5)
    assert [frame(2), frame(3), frame(4)] == taken(backlog)


def test_nothing_is_given_up_for_what_would_not_fit_even_then():
    """A message larger than all that may go is what goes."""
    backlog = SendQueue()
    backlog.admit(frame(0), "drop_oldest", 0)
    backlog.keep(frame(1, 100))

    assert (1, 50) == backlog.admit(frame(2, 50), "drop_oldest", 5)
    assert [frame(0), frame(1, 100)] == taken(backlog)


def test_raise_changes_nothing():
    """The sender is told, and by how much it was too much."""
    backlog = SendQueue()
    backlog.admit(frame(0), "raise", 0)

    with pytest.raises(QueueFullError, match=r"^4 bytes more would be 3 more than the peer may be owed$"):
        backlog.admit(frame(1), "raise", 3)

    assert [frame(0)] == taken(backlog)


def test_frames_are_taken_whole():
    """As few as make up what is asked for."""
    backlog = SendQueue()
    for number in range(4):
        backlog.keep(frame(number))

    assert [b"00000001", b"0002", b"0003", b""] == [backlog.take(5), backlog.take(4), backlog.take(100), backlog.take()]


@given(
    frames=st.lists(st.tuples(st.integers(1, 40), st.booleans()), max_size=60),
    limit=st.integers(1, 300),
    reads=st.lists(st.integers(1, 80), max_size=20),
)
def test_drop_oldest_against_a_plain_list(frames, limit, reads):
    """What is left, what was taken and what was given up are all that came; nothing kept is lost, nothing is reordered,
    and what was posted is never over the limit."""
    backlog, model, lost, out = SendQueue(), [], 0, []
    due = list(reads)
    for number, (size, posted) in enumerate(frames):
        data = frame(number, size)[-size:]
        if posted:
            event = backlog.admit(data, "drop_oldest", backlog.posted_bytes + size - limit)
            lost += 0 if event is None else event[0]
            model.append((data, True))
            if event is not None:
                if size > limit:
                    model.pop()
                while sum(len(each) for each, may_go in model if may_go) > limit:
                    model.remove(next(entry for entry in model if entry[1]))
        else:
            backlog.keep(data)
            model.append((data, False))
        if due and number % 3 == 2:
            piece = backlog.take(due.pop())
            while piece:
                first, _ = model.pop(0)
                assert piece.startswith(first)
                out.append(first)
                piece = piece[len(first) :]
        assert backlog.posted_bytes <= limit

    left = taken(backlog)
    assert [data for data, _ in model] == left
    assert len(frames) == len(out) + len(left) + lost
    assert 0 == backlog.posted_bytes
