"""A group, without the network: who is in it, what is counted, and that the loop has its turn."""

import asyncio
import gc
import threading
import weakref

import pytest

import penstock
from penstock.groups import delivering as module


@pytest.fixture
async def room():
    """A served application with a group, and a function that makes members."""
    app = penstock.App()
    joined = []

    @app.on_message(codec="lines", bind="tcp://127.0.0.1:0")
    def member(conn, message):
        joined.append(conn)
        app.group("lobby").join(conn)
        return message

    async with app.test() as t:

        async def join(count=1):
            members = [await t.connect("member") for _ in range(count)]
            for peer in members:
                await peer.request(b"hello")
            return members

        yield app.group("lobby"), join, joined


async def test_who_is_in_it(room):
    """By length, by iteration, by ``in``; joining twice is joining once."""
    group, join, joined = room
    await join(3)
    first = joined[0]
    again = group.join(first)

    assert (3, joined, True, 0) == (len(group), list(group), first in group, group.elsewhere)
    assert group.join(first) is again
    again.leave()
    again.leave()
    group.leave(first)
    assert (2, False) == (len(group), first in group)


async def test_a_membership_lasts_as_long_as_its_block(room):
    """``async with`` and ``with``; the group is what it gives."""
    group, join, joined = room
    await join()
    other = penstock.Group("other")
    async with other.join(joined[0]) as given:
        assert (given is other, 1) == (True, len(other))
    with other.join(joined[0]):
        assert 1 == len(other)

    assert (0, 1) == (len(other), len(group))


async def test_those_that_are_excluded_hear_nothing(room):
    """One, or several; who is not in the group may be named."""
    group, join, joined = room
    _, second, third = await join(3)

    assert 2 == group.publish(b"a", exclude=joined[0]).here
    assert 1 == group.publish(b"b", exclude=joined[:2]).here
    group.leave(joined[0])
    assert 2 == group.publish(b"c", exclude=joined[0]).here
    assert [b"a", b"c"] == [await second.receive() for _ in range(2)]
    assert [b"a", b"b", b"c"] == [await third.receive() for _ in range(3)]
    assert (3, 5, 5) == (group.stats.published, group.stats.deliveries, group.stats.delivered)


async def test_a_message_that_the_codec_refuses_is_the_publishers_mistake(room):
    """And sent to nobody."""
    group, join, _ = room
    (peer,) = await join()
    with pytest.raises(penstock.LocalProtocolError):
        group.publish(b"two\nlines")
    group.publish(b"one")

    assert (b"one", 1, 1) == (await peer.receive(), group.stats.published, group.stats.delivered)


async def test_publishing_to_nobody_is_no_mistake():
    """There is no codec to ask."""
    group = penstock.Group()

    assert (0, 0) == group.publish(object())


async def test_a_publication_to_many_leaves_the_loop_its_turn(room, monkeypatch):
    """After each slice the others are served, and what is published meanwhile comes after it."""
    group, join, _ = room
    monkeypatch.setattr(module, "SLICE_S", 0.0)
    members = await join(100)
    turns = []
    asyncio.get_running_loop().call_soon(lambda: turns.append(group.stats.delivered))
    group.publish(b"first")
    group.publish(b"second")
    at_once = group.stats.delivered
    heard = [[await peer.receive(), await peer.receive()] for peer in members]

    assert 0 < at_once < 100
    assert [True] == [delivered < 200 for delivered in turns]
    assert [[b"first", b"second"]] * 100 == heard
    assert (200, 0) == (group.stats.delivered, group.stats.waiting)


async def test_publications_that_wait_are_bounded(room, monkeypatch):
    """One who publishes without pause holds the loop, and not the memory."""
    group, join, _ = room
    monkeypatch.setattr(module, "SLICE_S", 0.0)
    monkeypatch.setattr(module, "MAX_PENDING", 3)
    members = await join(100)
    for number in range(50):
        group.publish(b"%d" % number)
        assert len(group._pending) <= 4

    for peer in members:
        assert [b"%d" % number for number in range(50)] == [await peer.receive() for _ in range(50)]


@pytest.mark.parametrize("alike", [True, False], ids=["joined", "one by one"])
async def test_who_publishes_more_than_may_be_pending_holds_its_own_loop(room, monkeypatch, alike):
    """256 wait for the loop; each beyond has the first ones delivered at once, in order, to each member once."""
    group, join, joined = room
    monkeypatch.setattr(module, "SLICE_S", 0.0)
    members = await join(70)  # more than are served between two looks at the clock
    count, most, late = module.MAX_PENDING + (512 if alike else 64), 0, []
    asyncio.get_running_loop().call_soon(lambda: late.append(group.stats.delivered))
    for number in range(count):
        group.publish(b"%d" % number, exclude=() if alike or number % 2 else joined[:1])
        most = max(most, len(group._pending))
        if number == count // 2:
            group.leave(joined[-1])
    delivered_at_once = group.stats.delivered
    first, *others, _ = members
    expected = [b"%d" % number for number in range(count)]

    assert [] == late  # the loop has not turned
    assert module.MAX_PENDING - 1 <= most <= module.MAX_PENDING + 1
    assert delivered_at_once >= (count - module.MAX_PENDING - 1) * len(others)
    for peer in others:
        assert expected == [await peer.receive() for _ in range(count)]
    own = expected if alike else expected[1::2]
    assert own == [await first.receive() for _ in own]
    assert group.stats.deliveries == group.stats.delivered + group.stats.gone
    assert 0 == group.stats.waiting


async def test_a_member_that_left_meanwhile_is_counted_as_gone(room, monkeypatch):
    """It hears nothing that was published before, and had not come so far."""
    group, join, joined = room
    monkeypatch.setattr(module, "SLICE_S", 0.0)
    await join(100)
    group.publish(b"hello")
    for conn in joined[90:]:
        group.leave(conn)
    while group.stats.waiting:
        await asyncio.sleep(0)

    assert (90, 10) == (group.stats.delivered, group.stats.gone)


async def test_publishing_from_another_thread(room):
    """Posted by the loop, in order."""
    group, join, _ = room
    (peer,) = await join()

    def publish():
        for number in range(10):
            group.publish(b"%d" % number)

    await asyncio.to_thread(publish)

    assert [b"%d" % number for number in range(10)] == [await peer.receive() for _ in range(10)]


async def test_a_connection_that_is_no_servers_cannot_join():
    """Nobody would tell of its end."""
    async with penstock.serve(lambda message: message, bind="tcp://127.0.0.1:0") as server:
        async with await penstock.connect(server.addresses[0]) as conn:
            with pytest.raises(penstock.LocalProtocolError, match="a client's connection cannot be in a group"):
                penstock.Group().join(conn)


async def test_a_connection_that_has_ended_cannot_join(room):
    """It would stay for ever."""
    group, join, joined = room
    (peer,) = await join()
    peer.close()
    await peer.wait_closed()
    while len(group):
        await asyncio.sleep(0)
    with pytest.raises(penstock.ClosedError):
        group.join(joined[0])

    assert 0 == len(group)


async def test_a_group_of_an_application_can_have_another_life():
    """In another loop, too: whom it had before is gone."""
    group = penstock.Group()

    def live():
        async def main():
            app = penstock.App()

            @app.on_message(bind="tcp://127.0.0.1:0")
            def member(conn, message):
                group.join(conn)
                return message

            async with app.test() as t:
                peer = await t.connect("member")
                await peer.request(b"hello")
                group.publish(b"heard")
                return await peer.receive()

        return asyncio.run(main())

    assert [b"heard"] * 2 == [await asyncio.to_thread(live) for _ in range(2)]


def test_an_application_has_one_group_and_one_registry_of_a_name():
    """Empty or not."""
    app = penstock.App()

    assert app.group("a") is app.group("a") is not app.group("b")
    assert app.registry("a") is app.registry("a") is not app.registry("b")


async def test_a_loop_has_its_turn_while_a_thread_publishes_without_pause(room, monkeypatch):
    """The thread waits once enough is pending, and the pump obeys its slice: neither memory nor the loop is held."""
    group, join, _ = room
    monkeypatch.setattr(module, "SLICE_S", 0.0)
    monkeypatch.setattr(module, "MAX_PENDING", 3)
    members = await join(100)
    most = []

    def publish():
        for number in range(50):
            group.publish(b"%d" % number)
            most.append(len(group._pending))

    thread = asyncio.create_task(asyncio.to_thread(publish))
    turns = 0
    while not thread.done() or group.stats.waiting:
        turns += 1
        await asyncio.sleep(0)
    await thread

    assert (True, True) == (max(most) <= 3, turns >= 50 // 3)  # no more than three go out at once
    for peer in members:
        assert [b"%d" % number for number in range(50)] == [await peer.receive() for _ in range(50)]


async def test_a_thread_with_a_loop_of_its_own_is_refused_where_it_would_have_to_wait(room, monkeypatch):
    """The group's loop may wait for that one; what it publishes stays bounded, and what was taken arrives."""
    group, join, _ = room
    monkeypatch.setattr(module, "MAX_PENDING", 3)
    (peer,) = await join()
    taken = []

    async def publish():
        for number in range(50):
            group.publish(b"%d" % number)
            taken.append(b"%d" % number)

    def in_another_loop():
        with pytest.raises(penstock.QueueFullError, match="runs in another loop"):
            asyncio.run(publish())

    thread = threading.Thread(target=in_another_loop)
    thread.start()
    thread.join()  # the group's loop is held meanwhile

    assert [b"0", b"1", b"2"] == taken == [await peer.receive() for _ in taken]


def test_where_the_loop_stands_still_a_thread_is_refused(monkeypatch):
    """There is nothing to wait for; once the loop is closed, what was pending is gone with its members."""
    monkeypatch.setattr(module, "MAX_PENDING", 3)
    app = penstock.App()
    group = penstock.Group()

    @app.on_message(codec="lines", bind="tcp://127.0.0.1:0")
    def member(conn, message):
        group.join(conn)
        return message

    async def begin():
        t = await app.test().__aenter__()
        await (await t.connect("member")).request(b"hello")
        return t

    with asyncio.Runner() as runner:
        t = runner.run(begin())
        for _ in range(3):
            group.publish(b"a")
        with pytest.raises(penstock.QueueFullError, match="stands still"):
            group.publish(b"one too many")
        runner.run(asyncio.sleep(0))
        assert 3 == group.stats.delivered
        group.publish(b"b")
        runner.run(t.__aexit__(None, None, None))

    assert (0, 4) == (len(group), group.stats.published)
    assert group.stats.deliveries == group.stats.delivered + group.stats.gone


def test_a_thread_does_not_wait_for_a_loop_that_has_ended(monkeypatch):
    """What it publishes is pending, and its members are gone."""
    monkeypatch.setattr(module, "MAX_PENDING", 0)
    group = penstock.Group()

    async def main():
        app = penstock.App()

        @app.on_message(bind="tcp://127.0.0.1:0")
        def member(conn, message):
            group.join(conn)
            return message

        async with app.test() as t:
            await (await t.connect("member")).request(b"hello")

    asyncio.run(main())

    assert (0, 0) == group.publish(b"too late")


@pytest.mark.parametrize(
    ("options", "meant"),
    [
        ({"on_slow": "drop-oldest"}, "did you mean drop_oldest"),
        ({"on_slow": "newest"}, "'newest' is not one of"),
        ({"on_slow": 1}, "is not one of"),
        ({"on_slow": "latest", "key": [1]}, "key is a list, which is not hashable"),
    ],
)
def test_a_wrong_policy_is_refused_when_it_is_given(options, meant):
    """Not when the first slow peer meets it."""
    with pytest.raises(penstock.ConfigurationError, match=meant):
        penstock.Group().publish(b"", **options)


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, None])
def test_a_wrong_number_of_messages_that_wait_is_refused(wrong):
    """There is no room in which to make room."""
    with pytest.raises(penstock.ConfigurationError, match="max_waiting is"):
        penstock.Group(max_waiting=wrong)


async def test_what_waits_is_sent_when_the_peer_has_read_meanwhile(room, monkeypatch):
    """A peer that reads between the look at it and the keeping of a message is not forgotten."""
    group, join, _ = room
    (peer,) = await join()
    (member,) = group._members.values()
    looks = iter([True, True])
    monkeypatch.setattr(module.Membership, "is_slow", property(lambda self: next(looks, False)))
    group.publish(b"kept", on_slow="drop_oldest")
    assert 1 == member.waiting.count

    assert b"kept" == await peer.receive()


async def test_what_waits_for_a_peer_that_reads_again_is_sent_before_the_next(room):
    """Even where nobody has told that it reads again."""
    group, join, _ = room
    (peer,) = await join()
    (member,) = group._members.values()
    member.queue().admit(b"first\n", "drop_oldest", 0)
    group.publish(b"second", on_slow="drop_newest")

    assert [b"first", b"second"] == [await peer.receive(), await peer.receive()]


async def test_what_waits_for_a_connection_that_goes_on_elsewhere_is_counted_as_delivered(room, monkeypatch):
    """It is sent there; nothing is left that waits for anybody."""
    group, join, joined = room
    await join()
    member = group.join(joined[0])
    monkeypatch.setattr(module.Membership, "is_slow", property(lambda self: True))
    group.publish(b"first", on_slow="drop_oldest")
    group.publish(b"second", on_slow="latest")
    given = member.take_waiting()
    member.leave()

    assert (b"first\nsecond\n", b"") == (given, member.take_waiting())
    assert (2, 0, 0, set()) == (group.stats.delivered, group.stats.gone, group.stats.waiting, group._late)


async def test_drop_is_short_for_drop_newest(room, monkeypatch):
    """As in ``on_full``, and counted as that."""
    group, join, _ = room
    await join()
    monkeypatch.setattr(module.Membership, "is_slow", property(lambda self: True))
    group.publish(b"missed", on_slow="drop")

    assert {"drop_newest": 1} == dict(group.stats.dropped)


async def test_a_connection_that_left_is_freed_without_the_collector(room):
    """A membership refers to itself by nothing that outlasts it."""
    _, join, joined = room
    await join()
    other = penstock.Group()
    gone = weakref.finalize(other, lambda: None)
    gc.disable()
    try:
        other.join(joined[0]).leave()
        del other
        assert not gone.alive
    finally:
        gc.enable()


async def test_a_group_without_members_is_not_kept_by_its_application(room):
    """Its name may be a peer's, and there may be many; while it has members it stays."""
    _, join, joined = room
    await join()
    app = joined[0].app
    lasting = id(app.group("with").join(joined[0])._group)
    app.group("without")

    assert ["lobby", "with"] == sorted(app._groups)
    assert lasting == id(app.group("with"))


async def test_what_is_pending_is_written_to_each_member_at_once(room, monkeypatch):
    """A peer that publishes without pause costs a write per member, not one for each message: the others have turns."""
    group, join, joined = room
    members = await join(3)
    group._pumping = True  # as while another one is delivered
    before = [conn.messages_out for conn in joined]
    for number in range(100):
        group.publish(b"%d" % number, exclude=joined[:1])
    group._pumping = False
    pieces = []
    monkeypatch.setattr(module.Delivering, "_deliver_some", _noting(pieces, module.Delivering._deliver_some))
    group._pump(asyncio.get_running_loop())

    assert [100] == pieces
    for peer in members[1:]:
        assert [b"%d" % number for number in range(100)] == [await peer.receive() for _ in range(100)]
    assert [0, 100, 100] == [conn.messages_out - had for conn, had in zip(joined, before, strict=True)]
    assert (200, 0) == (group.stats.delivered, group.stats.waiting)


def _noting(pieces, deliver):
    def noting(self, publication):
        pieces.append(publication.count)
        deliver(self, publication)

    return noting


async def test_messages_are_not_joined_where_they_have_to_be_told_apart(room, monkeypatch):
    """For a policy that gives up some of them, for other members, and beyond a size."""
    group, join, joined = room
    (peer,) = await join()
    monkeypatch.setattr(module, "JOIN_BYTES", 10)
    joined[0].set_limits(slow_consumer="drop_oldest")
    group._pumping = True
    for number in range(10):
        group.publish(b"%d" % number, on_slow="drop_newest" if number == 8 else None)
    group._pumping = False
    pieces = []
    monkeypatch.setattr(module.Delivering, "_deliver_some", _noting(pieces, module.Delivering._deliver_some))
    group._pump(asyncio.get_running_loop())

    assert [b"%d" % number for number in range(10)] == [await peer.receive() for _ in range(10)]
    assert [5, *[1] * 5, 3, *[1] * 3, 1, 1] == pieces
    assert (10, 0) == (group.stats.delivered, group.stats.waiting)
