"""One worker's side, with the other one played by the test: who is told what, and what becomes of what comes."""

import asyncio
import dataclasses
import gc
import os
import socket

import msgspec
import pytest

import penstock
from penstock.codecs.lines import Lines
from penstock.core.handover.codecs import text_of
from penstock.groups import elsewhere
from penstock.workers.cells import AVAILABLE, Cells, WorkerMemory
from penstock.workers.mesh import link as link_module
from penstock.workers.mesh import links as links_module
from penstock.workers.mesh import mesh as mesh_module
from penstock.workers.mesh.frames import (
    Displaced,
    Hello,
    Known,
    Mark,
    Marked,
    Presence,
    Publication,
    Reply,
    Request,
    Settled,
    encoded,
    taken,
)
from penstock.workers.mesh.keys import SharedKeys
from penstock.workers.mesh.mesh import Mesh

LINES = text_of(Lines())


class Other:
    """The other worker, by hand."""

    def __init__(self, mesh, number=7, slot=2):
        self.sock, theirs = socket.socketpair()
        self.sock.setblocking(False)
        self._input = bytearray()
        self.heard = []
        mesh.add(theirs, number, slot)

    def say(self, *said):
        self.sock.sendall(b"".join(map(encoded, said)))

    async def hear(self, kind):
        """Wait for the next message of a kind, and return it; those before it are passed over."""
        loop = asyncio.get_running_loop()
        while True:
            for at, said in enumerate(self.heard):
                if isinstance(said, kind):
                    del self.heard[: at + 1]
                    return said
            more = await loop.sock_recv(self.sock, 65536)
            assert more, f"the worker has left and never said {kind.__name__}"
            self._input += more
            self.heard += taken(self._input)


@pytest.fixture
def parted():
    """The workers that were cut."""
    return []


@pytest.fixture
async def mesh(parted):
    """A worker's mesh, known to its groups."""
    found = Mesh(3, 1, {"member": Lines()}, None, parted=parted.append)
    elsewhere.set_current(found)
    yield found
    elsewhere.set_current(None)
    found.close()
    gc.collect()


@pytest.fixture
async def room(mesh):
    """A served application with a group, what makes members, and another worker."""
    app = penstock.App()
    joined = []

    @app.on_message(codec="lines", bind="tcp://127.0.0.1:0")
    def member(conn, message):
        joined.append(conn)
        app.group("lobby").join(conn)
        return message

    async with app.test() as t:

        async def join():
            peer = await t.connect("member")
            await peer.request(b"hello")
            return peer

        other = Other(mesh)
        other.say(Hello(), Known())
        await mesh.acquainted()
        yield app.group("lobby"), join, joined, other
        other.sock.close()


async def test_a_member_is_told_of_before_it_is_answered(room):
    """Whoever hears that it has joined finds that the others know it."""
    _, join, _, other = room
    await join()

    assert Presence("lobby", LINES, False, 1) == await other.hear(Presence)


async def test_what_is_published_goes_where_members_are_and_is_encoded_here(room):
    """Nothing goes to a worker that has told of none; frames go by the codecs that it has told of."""
    group, _, _, other = room
    assert (0, 0) == group.publish(b"unheard")
    other.say(Presence("lobby", LINES, False, 2))
    published = group.publish(b"hi", on_slow="latest", key=("a", 1))
    came = await other.hear(Publication)

    assert (0, 2) == published
    assert Publication("lobby", 1, [(LINES, False, b"hi\n")], [], "latest", ["a", 1]) == came
    assert (2, 2) == (group.elsewhere, group.stats.elsewhere)


async def test_what_the_codec_elsewhere_refuses_is_refused_to_the_publisher(room):
    """As what the codec of a member here refuses."""
    group, _, _, other = room
    other.say(Presence("lobby", LINES, False, 1))
    with pytest.raises(penstock.LocalProtocolError):
        group.publish(b"two\nlines")
    assert (0, 0) == (group.stats.published, group.stats.elsewhere)


async def test_a_key_that_cannot_be_told_is_refused_by_name(room):
    """For what waits elsewhere with the same key would not be known."""
    group, _, _, other = room
    other.say(Presence("lobby", LINES, False, 1))
    with pytest.raises(penstock.ConfigurationError, match="key is a object: other workers are told plain data"):
        group.publish(b"x", on_slow="latest", key=object())


async def test_what_comes_is_delivered_but_to_those_it_excludes(room):
    """By the ids of connections, which are theirs in every worker."""
    group, join, joined, other = room
    first, second = await join(), await join()
    told = [(LINES, False, b"one\n")], [(LINES, False, b"two\n")]
    other.say(Publication("lobby", 1, told[0], [joined[1].id]), Publication("lobby", 2, told[1]))

    assert (b"one", b"two") == (await first.receive(), await first.receive())
    assert b"two" == await second.receive()
    assert (3, 3, 0) == (group.stats.deliveries, group.stats.delivered, group.stats.published)


async def test_what_was_published_elsewhere_before_comes_before_what_is_published_here(room):
    """Also where the loop has not had its turn: a connection that has moved published both."""
    group, join, _, other = room
    member = await join()
    other.say(Publication("lobby", 1, [(LINES, False, b"first\n")]))
    group.publish(b"second")

    assert (b"first", b"second") == (await member.receive(), await member.receive())


async def test_what_is_not_encoded_for_a_members_codec_is_counted(room):
    """It is refused there, as what the codec itself refuses."""
    group, join, _, other = room
    member = await join()
    other.say(Publication("lobby", 1, [("another codec", False, b"x")]), Publication("lobby", 2, []))
    other.say(Publication("lobby", 3, [(LINES, False, b"last\n")]))

    assert b"last" == await member.receive()
    assert {"refused": 2} == dict(group.stats.dropped)


async def test_a_worker_that_does_not_read_costs_its_members_messages_and_nobody_waits(room, monkeypatch):
    """They are counted as unsent, and those that were taken come in order."""
    group, _, _, other = room
    monkeypatch.setattr(link_module, "MOST_WAITING_BYTES", 100_000)
    other.say(Presence("lobby", LINES, False, 3))
    message = bytes(50_000)
    for _ in range(40):
        group.publish(message)
        await asyncio.sleep(0)
    unsent = group.stats.unsent // 3
    assert 0 < unsent < 40
    assert (120, unsent * 3) == (group.stats.elsewhere, group.stats.unsent)
    numbers = [(await other.hear(Publication)).number for _ in range(40 - unsent)]
    assert sorted(set(numbers)) == numbers


async def test_the_members_of_a_worker_that_has_ended_are_gone_at_once(room):
    """The kernel closes its sockets, however it ended."""
    group, _, _, other = room
    other.say(Presence("lobby", LINES, False, 2))
    assert (0, 2) == group.publish(b"x")
    other.sock.close()

    assert (0, 0) == group.publish(b"y")
    assert 0 == group.elsewhere


async def test_the_last_member_that_leaves_is_told_of_a_moment_later(room):
    """Counts that change often are told together."""
    group, join, joined, other = room
    await join()
    await other.hear(Presence)
    group.leave(joined[0])

    assert Presence("lobby", LINES, False, 0) == await other.hear(Presence)


async def test_what_is_said_by_newer_code_is_passed_over(room):
    """Further fields, and messages of a kind that is not known."""
    group, _, _, other = room
    newer = msgspec.msgpack.encode(["shrug", 1]), msgspec.msgpack.encode(["presence", "lobby", LINES, False, 4, "?"])
    other.sock.sendall(b"".join(len(each).to_bytes(4, "big") + each for each in newer))

    assert (0, 4) == group.publish(b"x")


async def test_there_is_one_group_of_a_name_that_spans_the_workers(room):
    """Two would each hear half of it."""
    _, join, joined, _ = room
    await join()
    another = penstock.Group("lobby", scope="workers")
    with pytest.raises(penstock.LocalProtocolError, match="there is another group called lobby"):
        another.join(joined[0])
    assert 0 == len(another)
    penstock.Group("lobby").join(joined[0])


async def test_a_group_of_the_process_is_known_nowhere_else(room, mesh):
    """Neither its members nor what is published to it."""
    _, join, joined, other = room
    await join()
    await other.hear(Presence)
    own = penstock.Group("own", scope="process")
    own.join(joined[0])
    other.say(Presence("own", LINES, False, 2))

    mesh.catch_up()
    assert (1, 0) == own.publish(b"x")
    assert (0, 2) == (own.elsewhere, mesh.members_of("own"))


@pytest.mark.parametrize(("scope", "name", "problem"), [("machine", "x", "scope"), ("workers", "", "needs a name")])
def test_a_scope_that_there_is_not_is_refused(scope, name, problem):
    """And one that needs a name."""
    with pytest.raises(penstock.ConfigurationError, match=problem):
        penstock.Group(name, scope=scope)
    with pytest.raises(penstock.ConfigurationError, match=problem):
        penstock.Registry(name, scope=scope)


@dataclasses.dataclass
class Unhashable(Lines):
    """It has an equality of its own."""

    number: int = 0

    def __post_init__(self):
        super().__init__()


class Failing(Lines):
    """An option that cannot be asked for."""

    def __init__(self, option=None):
        super().__init__()

    @property
    def option(self):
        raise RuntimeError("not now")


class Unsigned(Lines):
    """As a class in C that does not say what it is made with."""

    __signature__ = "(?)"


@pytest.mark.parametrize("kind", [Unhashable, Failing, Unsigned])
async def test_a_worker_knows_others_whatever_its_codecs_are(kind):
    """A codec that cannot be told apart is this process's: its members get what is published here."""
    mesh = Mesh(3, 1, {"a": kind(), "b": kind()}, None)
    elsewhere.set_current(mesh)
    app = penstock.App()

    @app.on_message(codec=kind(), bind="tcp://127.0.0.1:0")
    def member(conn, message):
        app.group("lobby").join(conn)
        return message

    async with app.test() as t:
        other = Other(mesh)
        other.say(Hello(), Known())
        await mesh.acquainted()
        peer = await t.connect("member")
        await peer.request(b"hello")
        app.group("lobby").publish(b"news")
        assert b"news" == await peer.receive()
        said = await other.hear(Presence)
    elsewhere.set_current(None)
    mesh.close()
    other.sock.close()

    assert ("lobby", 1) == (said.group, said.count)


async def all_before(other, kind):
    """What comes before the next message of a kind."""
    before = []
    while not isinstance(said := await other.hear(msgspec.Struct), kind):
        before.append(said)
    return before


async def test_a_member_that_speaks_another_codec_is_told_of_at_once(room):
    """What is published elsewhere next is encoded by that one."""
    _, join, joined, other = room
    await join()
    await other.hear(Presence)
    codec = Lines(newline="crlf")
    joined[0].set_codec(codec)

    assert Presence("lobby", text_of(codec), False, 1) == await other.hear(Presence)
    assert Presence("lobby", LINES, False, 0) == await other.hear(Presence)


# -- links that are cut, and workers that end --------------------------------------------------------------------------


async def test_a_worker_that_was_cut_is_told_of_and_is_known_anew(room, mesh, parted, monkeypatch):
    """Beyond what may wait of what may not be lost. Both sides begin at the beginning: members are told again."""
    group, join, _, other = room
    await join()
    other.say(Presence("lobby", LINES, False, 2))
    monkeypatch.setattr(link_module, "MOST_BYTES", 100_000)
    while not parted:
        link = mesh.link(7)
        if link is not None:
            link.say(Displaced("devices", "x" * 10_000, 1))
        await asyncio.sleep(0)
    monkeypatch.undo()
    assert ([7], None, 0) == (parted, mesh.link(7), group.elsewhere)
    again = Other(mesh)
    assert Hello(-1, False) == await again.hear(Hello)
    assert Presence("lobby", LINES, False, 1) == await again.hear(Presence)
    again.sock.close()


async def test_a_link_that_is_told_of_again_takes_the_place_of_the_one_before(room, mesh):
    """The other worker has cut that one, which may not have been heard of; what it had said is heard."""
    group, join, _, other = room
    member = await join()
    other.say(Publication("lobby", 1, [(LINES, False, b"last\n")]))
    again = Other(mesh)
    again.say(Hello(), Presence("lobby", LINES, False, 2))

    assert b"last" == await member.receive()
    assert (1, 2) == tuple(group.publish(b"x"))
    assert "x\n" == (await again.hear(Publication)).frames[0][2].decode()
    again.sock.close()


async def test_a_worker_that_has_ended_is_gone_though_a_child_has_copies_of_its_sockets(room, mesh):
    """The supervisor says so. What it had published before is delivered."""
    group, join, _, other = room
    member = await join()
    other.say(Presence("lobby", LINES, False, 2), Publication("lobby", 1, [(LINES, False, b"last\n")]))
    mesh.gone(7)
    mesh.gone(7)

    assert (None, 0) == (mesh.link(7), group.elsewhere)
    assert b"last" == await member.receive()


async def test_a_worker_that_leaves_ends_its_links_though_a_child_has_copies_of_its_sockets():
    """By shutdown(2), and with all that it has said."""
    mesh = Mesh(3, 1, {}, None)
    other = Other(mesh)
    copy = os.dup(mesh.link(7).fileno())
    mesh.close()

    assert Hello(-1, False) == await other.hear(Hello)
    assert b"" == await asyncio.get_running_loop().sock_recv(other.sock, 100)
    os.close(copy)
    other.sock.close()


async def test_a_worker_that_leaves_says_all_that_waits_and_its_loop_goes_on(room, mesh, monkeypatch):
    """As much as the other one reads meanwhile, whatever a socket holds."""
    monkeypatch.setattr(links_module, "LAST_WORDS_S", 600.0)
    _, _, _, other = room
    for number in range(1000):
        mesh.link(7).say(Displaced("devices", "x" * 10_000, number))
    assert mesh.link(7).waits
    leaving = asyncio.create_task(mesh.leave())
    while (await other.hear(Displaced)).order < 999:
        pass
    await leaving

    assert b"" == await asyncio.get_running_loop().sock_recv(other.sock, 100)


async def test_a_worker_that_leaves_waits_for_none_that_ends_or_does_not_read_for_ever(room, mesh, monkeypatch):
    """What one of them has not read by then is lost."""
    another = Other(mesh, number=8, slot=3)
    monkeypatch.setattr(links_module, "LAST_WORDS_S", 0.01)
    for link in (mesh.link(7), mesh.link(8)):
        link.say(Displaced("devices", "x" * 10_000_000, 1))
    another.sock.close()
    await mesh.leave()

    assert (None, None) == (mesh.link(7), mesh.link(8))


async def test_who_waits_for_an_answer_is_told_also_when_the_last_words_of_a_worker_are_cut_short(room, mesh):
    """A thread that waits for one would keep the process."""
    mesh.link(7).say(Displaced("devices", "x" * 10_000_000, 1))
    told = []
    mesh.requests.close = lambda: told.append("closed")
    leaving = asyncio.create_task(mesh.leave())
    await asyncio.sleep(0)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving

    assert ["closed"] == told


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_child_that_was_forked_is_no_worker(monkeypatch):
    """What its groups would read and write is its parent's."""
    monkeypatch.setattr(elsewhere, "_current", "the workers")
    child = os.fork()
    if child == 0:
        os._exit(elsewhere.current() is None)
    status = os.waitpid(child, 0)[1]

    assert 1 == os.waitstatus_to_exitcode(status)
    assert "the workers" == elsewhere.current()


@pytest.fixture
async def keys():
    """The keys of two workers."""
    if not AVAILABLE:
        pytest.skip("no memory without a name here")
    cells = Cells()
    numbers = [cells.give(1), cells.give(2)]
    loop = asyncio.get_running_loop()
    memories = [WorkerMemory([os.dup(fd) for fd in cells.descriptors], number, loop) for number in numbers]
    yield [SharedKeys(memory, number) for memory, number in zip(memories, numbers, strict=True)]
    for memory in memories:
        memory.close()
    cells.close()


@pytest.fixture
async def devices(keys):
    """A worker with a registry, a function that makes a connection which holds a key, and the keys of another one."""
    here, there = keys
    mesh = Mesh(3, 1, {}, here)
    elsewhere.set_current(mesh)
    app = penstock.App()
    conns = []

    @app.on_message(codec="lines", bind="tcp://127.0.0.1:0")
    def device(conn, message):
        app.registry("devices").hold(message, conn)
        conns.append(conn)
        return message

    async with app.test() as t:

        async def hold(key):
            await (await t.connect("device")).request(key)
            return conns[-1]

        yield mesh, hold, there
    elsewhere.set_current(None)
    mesh.close()


def take(keys, key):
    """Have a key in another worker."""
    assert keys.claim(("devices", key), refuses=False, order=None, is_shared=False)


async def test_a_later_hold_is_told_to_a_worker_that_gets_known_after_it(devices):
    """There was no link when the key was taken: else both connections would have it for good."""
    mesh, hold, there = devices
    take(there, b"a")
    take(there, b"b")
    await hold(b"a")
    await hold(b"c")
    take(there, b"c")
    other = Other(mesh)
    other.say(Hello(there.cell))

    assert Displaced("devices", b"a", 3) == await other.hear(Displaced)
    mesh.link(7).say(Displaced("end", "", 1))
    assert Displaced("end", "", 1) == await other.hear(Displaced)
    other.sock.close()


async def test_there_is_one_registry_of_a_name_that_spans_the_workers(devices):
    """Of two each would take keys of the other out."""
    _, hold, _ = devices
    conn = await hold(b"a")
    another = penstock.Registry("devices", scope="workers")
    with pytest.raises(penstock.LocalProtocolError, match="there is another registry called devices"):
        another.hold(b"b", conn)
    assert 0 == len(another)
    penstock.Registry("devices").hold(b"b", conn)


# -- members that move -------------------------------------------------------------------------------------------------


@pytest.fixture
def before(mesh):
    """The worker that had this one's slot before, whose connections may come."""
    other = Other(mesh, number=1, slot=1)
    other.say(Hello(), Known())
    yield other
    other.sock.close()


async def test_a_worker_whose_slot_had_another_one_wants_all(before, mesh):
    """Until no connection comes any more."""
    assert Hello(-1, True) == await before.hear(Hello)
    mesh.settle()
    mesh.settle()

    assert Settled() == await before.hear(Settled)


async def test_what_is_published_goes_to_those_who_want_all_and_where_members_are(room, before, mesh):
    """Not to all: this worker wants all for itself."""
    group, join, _, other = room
    await join()
    before.say(Presence("lobby", LINES, False, 1))
    group.publish(b"x")
    mesh.link(7).say(Displaced("end", "", 1))

    assert (await before.hear(Publication)).number == 1
    assert {Hello, Known, Presence} >= set(map(type, await all_before(other, Displaced)))


async def test_a_worker_none_of_whose_connections_move_wants_no_more_than_others():
    """Nothing would come to which it could be delivered."""
    mesh = Mesh(3, 1, {}, None, takes_over=False)
    before = Other(mesh, number=1, slot=1)

    assert Hello(-1, False) == await before.hear(Hello)
    mesh.close()
    before.sock.close()


async def test_what_the_others_have_published_is_waited_for(room, mesh):
    """They say so after it. One that is gone is not waited for."""
    *_, other = room
    another = Other(mesh, number=8, slot=3)
    waiting = asyncio.ensure_future(mesh.heard())
    mark = await other.hear(Mark)
    assert mark == await another.hear(Mark)
    other.say(Publication("lobby", 1, []), Marked(mark.number))
    another.sock.close()
    await waiting

    assert {3: 0, 7: 1} == mesh.cursor()


async def test_a_mark_is_answered_after_what_was_published(room):
    """In its place among that."""
    group, _, _, other = room
    other.say(Presence("lobby", LINES, False, 1))
    group.publish(b"before")
    other.say(Mark(5))
    assert 1 == (await other.hear(Publication)).number
    assert Marked(5) == await other.hear(Marked)


async def test_a_worker_that_ends_while_it_hands_over_leaves_what_was_remembered(room, before, mesh, monkeypatch):
    """What it has offered may still be read. Later nothing comes, and nothing is remembered."""
    monkeypatch.setattr(mesh_module, "SETTLED_S", 0)
    group, join, joined, other = room
    member = await join()
    group.leave(joined[0])
    mesh.is_taking_over = True
    before.say(Publication("lobby", 1, [(LINES, False, b"1\n")]))
    before.sock.close()
    while mesh.link(1) is not None:
        await asyncio.sleep(0)
    for _ in range(5):
        await asyncio.sleep(0)
    group.join_from(joined[0], {1: 0})
    assert b"1" == await member.receive()
    mesh.is_taking_over = False
    mesh.settle()
    assert Settled() == await other.hear(Settled)


async def test_what_is_remembered_is_forgotten_once_the_worker_before_has_ended(room, before, mesh, monkeypatch):
    """Where it hands nothing over."""
    monkeypatch.setattr(mesh_module, "SETTLED_S", 0)
    *_, other = room
    before.sock.close()

    assert Settled() == await other.hear(Settled)


async def test_what_waits_for_a_slow_member_moves_with_it_before_what_is_newer(room, before):
    """Its place says what waits. There it comes first."""
    group, join, joined, _ = room
    member = await join()
    membership = group.join(joined[0])
    group.stats.deliveries = 2
    for each in (b"1\n", b"2\n"):
        membership.queue().admit(each, "drop_oldest", 0)
    place = membership.place(joined[0].server.app)
    assert place == membership.place(joined[0].server.app)
    assert b"" == membership.take_waiting()
    group.leave(joined[0])
    before.say(Publication("lobby", 1, [(LINES, False, b"3\n")]))
    elsewhere.current().catch_up()
    joined[0].server.app.take_place(joined[0], (*place[:2], [(1, 0)], *place[3:]))

    assert [b"1", b"2", b"3"] == [await member.receive() for _ in range(3)]
    assert 0 == group.stats.waiting


async def test_a_member_that_comes_gets_what_it_has_not_got_once_and_in_order(room, before, mesh):
    """What came before it did, what comes after, and nothing of what it has had: not even what is late here."""
    group, join, joined, other = room
    told = [[(LINES, False, b"%d\n" % number)] for number in range(6)]
    member = await join()
    group.leave(joined[0])
    for number in (1, 2, 3):
        before.say(Publication("lobby", number, told[number]))
    mesh.catch_up()  # there is nobody to deliver it to
    witness = await join()
    group.join_from(joined[0], {1: 2, 7: 4})  # of the other worker it has had what this one has not
    other.say(Publication("lobby", 4, told[4]), Publication("lobby", 5, told[5]))
    assert (b"3", b"5") == (await member.receive(), await member.receive())
    assert (b"4", b"5") == (await witness.receive(), await witness.receive())
    mesh.settle()
    other.say(Publication("lobby", 6, told[0]))
    assert b"0" == await member.receive()


async def test_what_a_worker_that_has_ended_had_published_is_not_forgotten(room, mesh):
    """A member that moves has had it: the next process may have it still to deliver."""
    group, join, joined, _ = room
    ended = Other(mesh, number=2, slot=3)
    member = await join()
    ended.say(Hello(), Publication("lobby", 5, [(LINES, False, b"last\n")]))
    ended.sock.close()
    assert b"last" == await member.receive()
    place = group.join(joined[0]).place(joined[0].server.app)

    assert ("group", "lobby", [(2, 5), (3, 0)]) == place


async def test_a_member_that_is_held_gets_what_came_meanwhile_when_it_stays(room):
    """And where it has moved, that is delivered there."""
    group, join, joined, other = room
    member = await join()
    other.say(Publication("lobby", 1, [(LINES, False, b"before\n")]))
    assert b"before" == await member.receive()
    membership = group.join(joined[0])
    app = joined[0].server.app
    place = membership.place(app)
    group.publish(b"meanwhile")
    other.say(Publication("lobby", 2, [(LINES, False, b"also\n")]))
    await other.hear(Presence)
    assert ("group", "lobby", [(3, 0), (7, 1)]) == place == membership.place(app)
    membership.stays()
    group.publish(b"after")

    assert [b"meanwhile", b"also", b"after"] == [await member.receive() for _ in range(3)]


async def test_a_request_for_a_key_that_is_not_here_is_answered_so(room):
    """Nothing was done, so the other worker may ask elsewhere."""
    *_, other = room
    other.say(Request(9, "devices", "x", "request", ("", msgspec.msgpack.encode(b"hello"))))

    assert Reply(9, error="gone") == await other.hear(Reply)
