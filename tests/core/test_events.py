"""Events, and the server's own counts of them."""

from penstock.core.events import Event, EventName, Stats


def test_stats_count_what_happened():
    """Each kind of event under its own count; kinds that count nothing are let pass."""
    stats = Stats()
    for name, fields in (
        (EventName.LISTENING, {"listener": None}),
        (EventName.ACCEPTED, {}),
        (EventName.ACCEPTED, {}),
        (EventName.HANDLER_FAILED, {"error": ValueError()}),
        (EventName.CLOSED, {"reason": "done"}),
        (EventName.CLOSED, {"reason": "reset"}),
        (EventName.CLOSED, {"reason": "done"}),
        (EventName.DATAGRAM, {"listener": None}),
        (EventName.DATAGRAM_DROPPED, {"reason": "bad_frame", "listener": None}),
        (EventName.ACCEPT_FAILED, {"error": "EMFILE", "listener": None}),
        (EventName.READING_PAUSED, {}),
        (EventName.STOPPED, {}),
    ):
        stats.observe(Event(name, None, fields))

    assert 2 == stats.accepted
    assert {"done": 2, "reset": 1} == dict(stats.closed)
    assert 1 == stats.handler_errors
    assert 1 == stats.datagrams
    assert {"bad_frame": 1} == dict(stats.datagrams_dropped)
    assert {"EMFILE": 1} == dict(stats.accept_errors)


def test_every_name_is_a_word_for_logs():
    """Lower case and underscores, no two alike."""
    names = [str(name) for name in EventName]

    assert len(names) == len(set(names))
    assert all(name.replace("_", "").islower() and name.isascii() for name in names)
