"""What gives way when a peer does not read, said with the message: a call's word goes before that of the limits."""

import contextlib

import pytest

import penstock

from .floods import COUNT, LIMITS, SIZE, Flood, arrived, dropped, message

has_conn = pytest.mark.forms(lambda form: form.has_conn)


@pytest.fixture(params=["unix", "unix+seqpacket"])
def flooded(request, serve, form, tmp_path):
    """Flood a peer that reads once all was posted; return the numbers that arrived and what was dropped, by policy."""

    def run(post, **limits):
        flood = Flood(post)
        limits = LIMITS.merged(**limits)
        with serve(flood, limits=limits, bind=f"{request.param}://{tmp_path}/s") as server, server.dial() as peer:
            run.owed_bytes = flood.watch(server, peer)
            numbers = arrived(peer)
            peer.close()
            assert ["done"] == server.reasons(1)
            return numbers, dropped(server)

    return run


def put(conn, number, **options):
    """Post a message: each other one framed before."""
    if number % 2:
        conn.post_frame(conn.frame(message(number)), **options)
    else:
        conn.post(message(number), **options)


@has_conn
@pytest.mark.parametrize("word", ["drop", "drop_newest"])
def test_a_message_may_give_way_itself(flooded, word):
    """What arrives is an unbroken beginning; the rest is counted, under one name."""
    numbers, lost = flooded(lambda conn, number: put(conn, number, on_full=word))

    assert list(range(len(numbers))) == numbers
    assert {"drop_newest": COUNT - len(numbers)} == lost
    assert LIMITS.write_max_bytes - SIZE <= len(numbers) * SIZE < COUNT * SIZE


@has_conn
def test_the_oldest_may_give_way(flooded):
    """One gap; after it the latest; though the limits say that nothing does."""
    numbers, lost = flooded(lambda conn, number: put(conn, number, on_full="drop_oldest"), slow_consumer="raise")
    missing = COUNT - len(numbers)
    gap = next(index for index, number in enumerate(numbers) if index != number)

    assert [*range(gap), *range(gap + missing, COUNT)] == numbers
    assert {"drop_oldest": missing} == lost


@has_conn
def test_the_sender_may_be_told(flooded):
    """Exactly those for which post() returned arrive, though the limits would have had the oldest go."""
    queued = []

    def post(conn, number):
        try:
            put(conn, number, on_full="raise")
        except penstock.QueueFullError:
            return
        queued.append(number)

    numbers, lost = flooded(post, slow_consumer="drop_oldest")

    assert queued == numbers
    assert (COUNT > len(numbers), {}) == (True, lost)


@has_conn
def test_the_latest_of_each_key_arrives(flooded):
    """From the high watermark on, far from the hard limit: in order, the last of five keys at the end."""
    numbers, lost = flooded(lambda conn, number: put(conn, number, on_full="latest", key=number % 5))

    assert sorted(set(numbers)) == numbers
    assert list(range(COUNT - 5, COUNT)) == numbers[-5:]
    assert {"latest": COUNT - len(numbers)} == lost
    assert 2 * LIMITS.write_high_bytes + 20 * SIZE > flooded.owed_bytes > 5 * SIZE


@has_conn
def test_a_message_may_have_to_arrive_or_end_the_connection(serve, form, tmp_path):
    """Though the limits would have had the oldest go: nothing is dropped."""

    def post(conn, number):
        with contextlib.suppress(penstock.PenstockError):  # once it has ended
            put(conn, number, on_full="disconnect")

    flood = Flood(post)
    limits = LIMITS.merged(slow_consumer="drop_oldest")
    with serve(flood, limits=limits, bind=f"unix:{tmp_path}/s") as server, server.dial() as peer:
        flood.watch(server, peer)
        assert ["slow_consumer"] == server.reasons(1)

        assert {} == dropped(server)


@has_conn
def test_what_was_taken_for_good_is_not_given_up_for_another(flooded):
    """Posted by turns: each message whose sender would have been told arrives; of the others the oldest are missing."""
    taken = []

    def post(conn, number):
        if number % 10:
            put(conn, number, on_full="drop_oldest")
            return
        try:
            put(conn, number, on_full="raise")
        except penstock.QueueFullError:
            return
        taken.append(number)

    numbers, lost = flooded(post)

    assert taken == [number for number in numbers if number % 10 == 0]
    assert sorted(set(numbers)) == numbers
    assert sum(number % 10 != 0 for number in range(COUNT)) - lost["drop_oldest"] == len(numbers) - len(taken)


@has_conn
@pytest.mark.parametrize("bind", ["tcp://127.0.0.1:0", "udp://127.0.0.1:0"])
def test_a_wrong_word_is_refused_at_the_call(serve, form, bind):
    """On whatever carries messages, full or not; nothing was sent, and the connection goes on."""
    if "udp" in bind and form.is_conversation:
        pytest.skip("datagrams have no conversation")
    problems = []

    def react(conn, message_):
        for options in ({"on_full": "wait"}, {"on_full": "latest", "key": []}):
            for call in (conn.post, conn.post_frame):
                try:
                    call(b"wrong", **options)
                except penstock.ConfigurationError as error:
                    problems.append(str(error))
        return message_

    with serve(react, bind=bind) as server, server.dial() as peer:
        peer.send(b"a\n")
        assert b"a" == peer.recv(100).strip()

    assert 4 == len(problems)
    assert {"on_full: 'wait' is not", "key is a list, which i"} == {problem[:22] for problem in problems}
