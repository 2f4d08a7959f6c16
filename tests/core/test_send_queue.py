"""What waits for a slow peer: whole frames in order, of which the oldest that may be are given up, and no others."""

import collections

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.send_queue import SendQueue, check_policy
from penstock.errors import ConfigurationError, QueueFullError


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


@pytest.mark.parametrize("size", [4, 400])
def test_latest_takes_the_place_of_what_waits_with_its_key(size):
    """Room or not, and behind all others; what is of another key, or of none, stays."""
    backlog = SendQueue()
    for number, key in enumerate(["a", "b", None]):
        backlog.admit(frame(number, size), "latest", 0, key)

    assert (1, size) == backlog.admit(frame(3, size), "latest", 0, "a")
    assert (1, size) == backlog.admit(frame(4, size), "latest", 0)
    assert 3 == backlog.count
    assert [frame(1, size), frame(3, size), frame(4, size)] == taken(backlog)
    assert backlog.admit(frame(5, size), "latest", 0, "b") is None  # what has left is not called back


def test_latest_gives_up_the_oldest_where_its_key_makes_too_little_room():
    """Those of other keys, the oldest first; never more than it takes."""
    backlog = SendQueue()
    for number in range(4):
        backlog.admit(frame(number), "latest", 0, number)

    assert (2, 8) == backlog.admit(frame(4, 8), "latest", 8, 2)
    assert [frame(1), frame(3), frame(4, 8)] == taken(backlog)


def test_latest_does_not_keep_an_older_value_where_the_newer_finds_no_room():
    """Nobody is sent a price that is known to be wrong: both are given up, and what is of other keys stays."""
    backlog = SendQueue()
    backlog.keep(frame(0, 100))
    backlog.admit(frame(1, 8), "latest", 0, "other")
    backlog.admit(frame(2, 10), "latest", 0, "key")

    assert (2, 110) == backlog.admit(frame(3, 100), "latest", 50, "key")
    assert [frame(0, 100), frame(1, 8)] == taken(backlog)
    assert backlog.admit(frame(4), "latest", 0, "key") is None


def test_what_is_posted_looks_at_each_frame_that_stays_once():
    """Not at each post: many that stay before many that may go cost as much as few do."""
    looks = 0

    class Noting(collections.deque):
        def popleft(self):
            nonlocal looks
            looks += 1
            return super().popleft()

    backlog = SendQueue()
    backlog._line.frames = Noting()
    for number in range(1000):
        backlog.admit(frame(number, 4 + 400 * (number % 2)), "raise", 0)
        backlog.admit(frame(number, 8 + 400 * (number % 2)), "drop_oldest", 0)
    for number in range(1000):
        size = 8 + 400 * (number % 2)
        assert (1, size) == backlog.admit(frame(number, size), "drop_oldest", size)

    assert 2000 == backlog.count
    assert 2000 >= looks


def test_the_oldest_is_taken_with_what_it_was_posted_with():
    """So that it may wait elsewhere: its policy, and the key of one that may be replaced; what was replaced is not."""
    backlog = SendQueue()
    backlog.admit(frame(0), "latest", 0, "key")
    backlog.admit(frame(1), "drop_oldest", 0)
    backlog.admit(frame(2), "latest", 0)
    backlog.admit(frame(3), "latest", 0, "key")

    assert [(frame(1), "drop_oldest", None), (frame(2), "latest", None), (frame(3), "latest", "key")] == [
        backlog.take_as_posted() for _ in range(3)
    ]
    assert (0, 0) == (len(backlog), backlog.count)


def test_what_was_posted_to_be_told_of_is_not_given_up_for_another():
    """Its sender took the silence of ``raise`` and ``drop_newest`` for a yes."""
    backlog = SendQueue()
    backlog.admit(frame(0), "raise", 0)
    backlog.admit(frame(1, 300), "drop_newest", 0)
    backlog.admit(frame(2), "drop_oldest", 0)

    assert (1, 4) == backlog.admit(frame(3), "drop_oldest", 4)
    assert (1, 8) == backlog.admit(frame(4, 8), "latest", 5)
    assert [frame(0), frame(1, 300), frame(3)] == taken(backlog)


def test_frames_may_be_held_to_a_number():
    """As a group does for each of its members: whatever their sizes."""
    backlog = SendQueue()
    for number in range(5):
        backlog.admit(frame(number, 4 + 300 * (number % 2)), "drop_oldest", 0, None, backlog.count + 1 - 3)

    assert 3 == backlog.count
    assert [frame(2), frame(3, 304), frame(4)] == taken(backlog)


def test_nothing_is_left_of_what_was_replaced():
    """A key that changes a million times holds the memory of one message."""
    backlog = SendQueue()
    backlog.admit(frame(0), "drop_oldest", 0)
    for number in range(10_000):
        backlog.admit(frame(number), "latest", 0, "key")

    assert 2 == backlog.count
    assert 50 > len(backlog._line.frames)
    assert [frame(0), frame(9999)] == taken(backlog)


@pytest.mark.parametrize(
    ("word", "key", "meant"),
    [
        ("drop-oldest", None, "on_full: 'drop-oldest' is not one of .*; did you mean drop_oldest"),
        (1, None, "is not one of"),
        ("latest", [1], "key is a list, which is not hashable"),
    ],
)
def test_a_wrong_policy_is_refused_when_it_is_given(word, key, meant):
    """Not when the first slow peer meets it."""
    with pytest.raises(ConfigurationError, match=meant):
        check_policy("on_full", word, key)


def test_drop_is_short_for_drop_newest():
    """And is counted as that."""
    assert "drop_newest" == check_policy("on_full", "drop", [])


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


POLICIES = ("drop_oldest", "drop_newest", "raise", "latest")


@given(
    frames=st.lists(
        st.tuples(st.integers(1, 600), st.sampled_from([None, *POLICIES]), st.integers(0, 3), st.booleans()),
        max_size=60,
    ),
    limit=st.integers(1, 3000),
)
def test_every_mixture_of_policies_against_a_plain_list(frames, limit):
    """What is left, and in which order; what the counts say; nothing that has to stay is lost."""
    backlog, model, lost, out = SendQueue(), [], 0, 0
    for number, (size, policy, key, takes) in enumerate(frames):
        data = frame(number, size)[-size:]
        excess = backlog.posted_bytes + size - limit
        if policy is None:
            backlog.keep(data)
            model.append((data, None, None))
        else:
            may_go = [each for each in model if each[1] in ("drop_oldest", "latest")]
            refused = excess > 0 and (
                policy in ("raise", "drop_newest") or excess > sum(len(each[0]) for each in may_go)
            )
            before = len(model)
            if not refused:
                if policy == "latest":
                    model = [each for each in model if each[1:] != ("latest", key)]
                over = sum(len(each[0]) for each in model if each[1]) + size - limit
                while over > 0 and excess > 0:
                    oldest = next(each for each in model if each[1] in ("drop_oldest", "latest"))
                    model.remove(oldest)
                    over -= len(oldest[0])
                gone = before - len(model)
                model.append((data, policy, key if policy == "latest" else None))
            else:
                gone = 1
                if policy == "latest" and (data_before := [each for each in model if each[1:] == ("latest", key)]):
                    model.remove(*data_before)
                    gone = 2
            lost += gone
            try:
                event = backlog.admit(data, policy, excess, key)
                assert gone == (event[0] if event else 0)
            except QueueFullError:
                assert refused
        if takes and model:
            out += 1
            assert model.pop(0)[0] == backlog.take()
        assert (len(model), sum(len(each[0]) for each in model)) == (backlog.count, len(backlog))
        assert sum(len(each[0]) for each in model if each[1]) == backlog.posted_bytes

    other = SendQueue()
    other.recall(*backlog.told())
    left = taken(backlog)
    assert [each[0] for each in model] == left == taken(other)
    assert len(frames) == len(left) + out + lost


def test_a_queue_that_is_told_of_is_the_same_at_the_other_end():
    """The bytes, which frames may give way, and how much counts as posted; what was replaced is not told."""
    queue, other = SendQueue(), SendQueue()
    queue.keep(b"reply")
    queue.admit(b"old", "drop_oldest", 0)
    queue.admit(b"x" * 1000, "raise", 0)
    queue.admit(b"first", "latest", 0, "key")
    queue.admit(b"second", "latest", 0, "key")
    other.recall(*queue.told())

    assert (len(queue), queue.count, queue.posted_bytes) == (len(other), other.count, other.posted_bytes)
    assert (1, 3) == queue.admit(b"new", "drop_oldest", 1) == other.admit(b"new", "drop_oldest", 1)
    assert queue.take(10_000) == other.take(10_000) == b"reply" + b"x" * 1000 + b"secondnew"


def test_what_a_later_one_may_replace_may_be_replaced_at_the_other_end():
    """By the same key; what was taken since is replaced no more."""
    queue, other = SendQueue(), SendQueue()
    for key in ("a", "b", None):
        queue.admit(b"old %r" % key, "latest", 0, key)
    queue.keep(b"reply")
    other.recall(*queue.told())
    assert b"old 'a'" == other.take()

    assert (1, 7) == other.admit(b"new b", "latest", 0, "b")
    assert other.admit(b"new a", "latest", 0, "a") is None
    assert b"old Nonereplynew bnew a" == other.take(10_000)
