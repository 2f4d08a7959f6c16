"""Of the law's part of a connection: whether it may move now, how old each of its clocks is, and how they go on.

Instants are told as ages. So the clocks of the two processes may differ, and the time between them counts.
"""

from __future__ import annotations

from math import inf
from typing import Any, Final

from ..law.closing import LOCAL_EOF, OPEN
from ..law.deadlines import PEER

Ages = dict[str, float]

# By the name in `Ages`, the instant that it is the age of. What is infinity has none.
_SINCE: Final = {
    "opened": "_opened_at",
    "first_message": "_first_since",
    "idle": "_idle_since",
    "message": "_partial_since",
    "stalled": "_stalled_since",
}


def why_it_ends_here(law: Any) -> str:
    """Say why a connection cannot move, however long that is waited for; empty where it may come to that.

    Args:
        law: The `core.law.rate.Law` of the connection, or its compiled twin.
    """
    if law._closing or law.close_reason is not None or law._close_after is not None:  # noqa: SLF001
        return "it is closing"
    if law._state not in (OPEN, LOCAL_EOF):  # noqa: SLF001
        return "its peer has sent EOF"
    rare = law._rare  # noqa: SLF001
    if rare is not None and rare.tasks:
        return "a task of it is at work"
    return ""


def why_it_stays(law: Any) -> str:
    """Say why a connection cannot move now; empty where it can. The argument as of `why_it_ends_here`."""
    if why := why_it_ends_here(law):
        return why
    if has_message_at_work(law):
        return "a message is at work"
    rare = law._rare  # noqa: SLF001
    if rare is not None and rare.asking:
        return "its peer owes a reply"
    return ""


def has_message_at_work(law: Any) -> bool:
    """Say whether it is not the peer's move: a message is at work, or is held back by a rate."""
    return law._whose_move != PEER  # type: ignore[no-any-return]  # noqa: SLF001


def ages_of(law: Any, now: float) -> Ages:
    """Return the ages of its clocks, and the numbers that are read with them.

    Args:
        law: Of a connection that may move.
        now: The instant.
    """
    ages = {name: now - since for name, field in _SINCE.items() if (since := getattr(law, field)) != inf}
    if law._state == LOCAL_EOF:  # noqa: SLF001
        ages["sent_eof"] = 1.0
    rare = law._rare  # noqa: SLF001
    if rare is None:
        return ages
    if rare.handshake_since != inf:
        ages["handshake"] = now - rare.handshake_since
    if law._stalled_since != inf:  # noqa: SLF001
        ages["taken_bytes"] = float(rare.taken_bytes)
    if rare.full_at > now:
        ages["bucket_full_in"] = rare.full_at - now
    if rare.rate_held:
        ages["rate_held"] = 1.0
    silence = rare.silence
    if silence is not None:
        left_s = silence.left_s if silence.due_at == inf else silence.due_at - now
        if left_s != inf:
            ages["silence_left"] = left_s
        ages["silence_heard_bytes"] = float(silence.heard_bytes)
        ages["silence_was_held_up"] = float(silence.was_held_up)
    return ages


def go_on(law: Any, ages: Ages, now: float) -> None:
    """Have the clocks of a connection that has just been made go on where those of another one stood.

    A silence stands still until the peer is read, and output that stalls is as `stall_goes_on` has it.

    Args:
        law: Of the new connection. It listens for silence already, if its codec does.
        ages: What `ages_of` said, with the time since then: see `aged`.
        now: The instant.
    """
    for name, field in _SINCE.items():
        if name != "stalled":
            setattr(law, field, now - ages[name] if name in ages else inf)
    if "sent_eof" in ages:
        law._become(LOCAL_EOF)  # noqa: SLF001
    if "bucket_full_in" in ages:
        law._of_few().full_at = now + ages["bucket_full_in"]  # noqa: SLF001
    if "rate_held" in ages:
        law._of_few().rate_held = True  # noqa: SLF001
    silence = None if law._rare is None else law._rare.silence  # noqa: SLF001
    if silence is not None:
        silence.stands_still = True
        silence.left_s = ages.get("silence_left", inf)
        silence.heard_bytes = int(ages.get("silence_heard_bytes", 0.0))
        silence.was_held_up = bool(ages.get("silence_was_held_up", 0.0))


def stall_goes_on(law: Any, ages: Ages, now: float) -> None:
    """As `go_on`, once the new connection was given what its peer is owed: the time to read it does not begin anew."""
    if law._stalled_since != inf and "stalled" in ages:  # noqa: SLF001
        law._stalled_since = now - ages["stalled"]  # noqa: SLF001
        law._of_few().taken_bytes = int(ages.get("taken_bytes", 0.0))  # noqa: SLF001


def aged(ages: Ages, passed_s: float) -> Ages:
    """Return the ages after so much time, in which nobody looked at the connection."""
    later = {name: age + passed_s if name in _SINCE or name == "handshake" else age for name, age in ages.items()}
    if "bucket_full_in" in later:
        later["bucket_full_in"] -= passed_s
    return later
