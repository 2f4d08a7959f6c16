"""Groups and registries over the workers of a server, as clients on several workers see them."""

import os
import select
import signal
import threading

import pytest

from .conftest import PATIENCE_S, ask, await_answer, pid_of

APP = """\
import os
import signal
import penstock

app = penstock.App("across")
room = app.group("room")
devices = app.registry("devices")
PID = b"%d" % os.getpid()

@app.on_message(codec="lines", handover=True)
def talk(conn, message):
    verb, _, rest = message.partition(b" ")
    if verb == b"join":
        room.join(conn)
    elif verb == b"say":
        room.publish(rest)
    elif verb == b"count":
        return b"%d %d" % (len(room), room.elsewhere)
    elif verb == b"stats":
        stats = room.stats
        return b"%d %d %d" % (stats.unsent, stats.dropped.total(), stats.waiting)
    elif verb == b"fork":
        child = os.fork()
        while child == 0:
            signal.pause()
        return b"%d" % child
    else:
        return PID
    return None
"""

each_engine = pytest.mark.parametrize("engine", ["native", "pure"])


@pytest.fixture
def across(engine, directory, supervise):
    """Three workers, and a connection of each."""
    (directory / "app.py").write_text(APP)
    supervised = supervise("app:app", "--engine", engine, "--timeout-drain", "5s", workers=3)
    with_pid = supervised.connect_to_each(3)
    yield supervised, with_pid
    for peer in with_pid.values():
        peer.close()


class Listener:
    """A member on a thread of its own: what it has heard, by who has said it."""

    def __init__(self, peer, ends, hears=None):
        self.peer = peer
        self.heard = {}
        self._hears = hears or threading.Condition()
        self._ends = ends  # of how many it waits for the end
        self._thread = threading.Thread(target=self._listen, daemon=True)
        peer.sendall(b"join\n")
        pid_of(peer)  # it has joined
        self._thread.start()

    def _listen(self):
        missing = set(self._ends)
        with self.peer.makefile("rb") as lines:
            try:
                for line in lines:
                    who, what = line.split()
                    if what == b"end":
                        missing.discard(who)
                        if not missing:
                            return
                    else:
                        with self._hears:
                            self.heard.setdefault(who, []).append(int(what))
                            self._hears.notify_all()
            except OSError:
                pass

    def wait(self):
        """Wait until all whom it listens to have ended, or its connection has."""
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive(), self.heard


def amiss(heard, expected):
    """Return, for each whose numbers are not those that are expected, what is about the first that is not."""
    found = []
    for who, numbers in expected.items():
        got = heard.get(who, [])
        at = next((at for at, pair in enumerate(zip(got, numbers, strict=False)) if pair[0] != pair[1]), len(got))
        if got != numbers:
            found.append((who, len(numbers), got[max(0, at - 3) : at + 3]))
    return found


def await_heard(hears, listeners, who, count):
    """Wait until each listener has heard so much of somebody."""
    with hears:
        assert hears.wait_for(lambda: all(len(each.heard.get(who, ())) >= count for each in listeners), PATIENCE_S)


def speak(peer, who, numbers):
    """Say numbers to the room, a few at a time; those that say it on have been published when this returns."""
    for number in numbers:
        peer.sendall(b"say %s %d\n" % (who, number))
    pid_of(peer)


def members_of_each(supervised, pids, of_each):
    """Return as many connections of each worker."""
    found = {pid: [] for pid in pids}
    while any(len(each) < of_each for each in found.values()):
        peer = supervised.connect()
        pid = pid_of(peer)
        if pid in found and len(found[pid]) < of_each:
            found[pid].append(peer)
        else:
            peer.close()
    return found


def test_chat_is_one_room_whatever_the_number_of_workers(supervise):
    """Each line reaches every other client, wherever both are served; the speaker does not hear it."""
    supervised = supervise("chat", workers=2)
    peers = [supervised.connect() for _ in range(8)]
    for number, peer in enumerate(peers):  # until all are known to have come in
        while True:
            peers[number - 1].sendall(b"anybody there\n")
            if select.select([peer], [], [], 0.05)[0]:
                break
    heard = [peer.makefile("rb") for peer in peers]
    for number, peer in enumerate(peers):
        peer.sendall(b"from %d\n" % number)
    for number, lines in enumerate(heard):
        others = {b"from %d\n" % each for each in range(8) if each != number}
        got = []
        while len(got) < 7:
            line = lines.readline()
            assert line, f"it was closed after {got}"
            if line.startswith(b"from"):
                got.append(line)
        assert sorted(others) == sorted(got)
    for each in [*heard, *peers]:
        each.close()
    assert supervised.stop() == 0


@each_engine
def test_each_member_gets_each_message_once_in_the_order_of_its_publisher(across):
    """Whichever worker has it; len and elsewhere tell who is there."""
    supervised, speakers = across
    names = {pid: b"w%d" % pid for pid in speakers}
    members = members_of_each(supervised, speakers, 2)
    listeners = [Listener(peer, names.values()) for peers in members.values() for peer in peers]
    speaking = [threading.Thread(target=speak, args=(peer, names[pid], range(300))) for pid, peer in speakers.items()]
    for thread in speaking:
        thread.start()
    for thread in speaking:
        thread.join()
    for pid, peer in speakers.items():
        peer.sendall(b"say %s end\n" % names[pid])
    for each in listeners:
        each.wait()

    expected = {name: list(range(300)) for name in names.values()}
    assert [[]] * 6 == [amiss(each.heard, expected) for each in listeners]
    assert {"0 0 0"} == {ask(peer, b"stats") for peer in speakers.values()}
    for each in listeners:
        each.peer.close()
    assert supervised.stop() == 0


@each_engine
def test_the_members_of_a_killed_worker_are_gone_and_the_others_miss_nothing(across):
    """What it had published before comes without a gap; those of the others hear all, and nothing twice."""
    supervised, speakers = across
    killed, *others = speakers
    names = {pid: b"w%d" % pid for pid in speakers}
    members = members_of_each(supervised, speakers, 1)
    hears = threading.Condition()
    listeners = {pid: Listener(peers[0], [names[each] for each in others], hears) for pid, peers in members.items()}
    for pid, peer in speakers.items():
        speak(peer, names[pid], range(100))
    await_heard(hears, [listeners[pid] for pid in others], names[killed], 100)  # they leave it in its loop's next turn
    for number in range(100, 2000):  # of these it publishes what it can
        speakers[killed].sendall(b"say %s %d\n" % (names[killed], number))
    os.kill(killed, signal.SIGKILL)
    for pid in others:
        speak(speakers[pid], names[pid], range(100, 200))
        speakers[pid].sendall(b"say %s end\n" % names[pid])
    for each in listeners.values():
        each.wait()
    for pid in others:
        heard = listeners[pid].heard
        assert {names[each]: list(range(200)) for each in others} == {
            names[each]: heard[names[each]] for each in others
        }
        of_killed = heard[names[killed]]
        assert 100 <= len(of_killed)
        assert list(range(len(of_killed))) == of_killed
    await_answer(speakers[others[0]], b"count", "1 1")  # it hears of the end when the kernel has closed all
    for each in listeners.values():
        each.peer.close()
    supervised.said("ended by itself")
    supervised.stop()


@each_engine
def test_a_killed_worker_is_gone_though_a_child_that_it_has_forked_lives(across):
    """The child has copies of all its sockets: the others hear of the end from the supervisor."""
    supervised, speakers = across
    (_, killed), (_, other), _ = speakers.items()
    killed.sendall(b"join\n")
    pid = pid_of(killed)
    child = int(ask(killed, b"fork"))
    try:
        assert "0 1" == ask(other, b"count")
        os.kill(pid, signal.SIGKILL)
        await_answer(other, b"count", "0 0")
    finally:
        os.kill(child, signal.SIGKILL)
    supervised.said("ended by itself")
    supervised.stop()


@each_engine
def test_members_and_publishers_that_move_in_a_roll_miss_nothing_and_get_nothing_twice(across):
    """Each worker is replaced while all of them publish: what each connection says comes to each member in order."""
    supervised, speakers = across
    names = {pid: b"w%d" % pid for pid in speakers}
    members = members_of_each(supervised, speakers, 2)
    hears = threading.Condition()
    listeners = [Listener(peer, names.values(), hears) for peers in members.values() for peer in peers]
    is_over = threading.Event()
    said = {}

    def speak_on(pid, peer):
        number = 0
        while not is_over.is_set():
            speak(peer, names[pid], range(number, number + 10))
            number += 10
            await_heard(hears, listeners, names[pid], number - 50)  # a member that is owed too much does not move
        said[names[pid]] = number
        peer.sendall(b"say %s end\n" % names[pid])

    speaking = [threading.Thread(target=speak_on, args=each) for each in speakers.items()]
    for thread in speaking:
        thread.start()
    supervised.tell(signal.SIGHUP)
    supervised.said("handed over: ")
    is_over.set()
    for thread in speaking:
        thread.join()
    for each in listeners:
        each.wait()

    assert set(speakers).isdisjoint(map(pid_of, speakers.values()))  # all have moved
    expected = {name: list(range(number)) for name, number in said.items()}
    assert [[]] * 6 == [amiss(each.heard, expected) for each in listeners]
    for each in listeners:
        each.peer.close()
    assert supervised.stop() == 0
