"""The keys of all workers: what interrupts a decision, and more of them than there is room for."""

import asyncio
import os
import threading

import pytest

from penstock.codecs.lines import Lines
from penstock.errors import LimitError, LocalProtocolError
from penstock.groups import Registry, elsewhere
from penstock.workers.cells import AVAILABLE, Cells, ProcessLock, WorkerMemory
from penstock.workers.mesh.deciding import Deciding
from penstock.workers.mesh.keys import SharedKeys
from penstock.workers.mesh.mesh import Mesh

from .test_requests import Device

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="no memory without a name here")


class Interrupted(ProcessLock):
    """Something comes each time when it is held: a finalizer that the collector runs, a handler of a signal."""

    work = staticmethod(lambda: None)

    def __enter__(self):
        super().__enter__()
        self.work()


@pytest.fixture
async def made():
    """Keys with room for six, another worker's view of them, and the lock."""
    cells = Cells(keys=8)
    descriptors = [os.dup(each) for _ in range(2) for each in cells.descriptors]
    loop = asyncio.get_running_loop()
    memories = [WorkerMemory(descriptors[at : at + 2], cells.give(at), loop) for at in (0, 2)]
    lock = memories[0].lock = Interrupted(descriptors[0])
    yield SharedKeys(memories[0], 0), SharedKeys(memories[1], 1), lock
    for memory in memories:
        memory.close()
    for descriptor in descriptors:
        os.close(descriptor)
    cells.close()


async def test_a_key_that_is_given_up_in_the_middle_of_a_decision_is_given_up_after_it(made):
    """In the same thread, which must not wait for itself: it holds off every worker. What comes in the loop's next turn
    finds what has become of the key meanwhile."""
    keys, other, lock = made
    mesh = Mesh(1, 0, {"service": Lines()}, keys)
    elsewhere.set_current(mesh)
    registry = Registry("devices", scope="workers")
    first, second = registry.hold("first", Device()), registry.hold("second", Device())
    lock.work = first.release
    registry.hold("third", Device())
    lock.work = second.release
    assert None is registry.get("fourth")
    lock.work = lambda: None
    assert ["first", "second", "third"] == list(registry)
    await asyncio.sleep(0)
    elsewhere.set_current(None)
    mesh.close()

    assert ["third"] == list(registry)
    assert [[], [], [(0, 3)]] == [other.elsewhere(("devices", key)) for key in ("first", "second", "third")]


async def test_what_interrupts_a_decision_takes_no_key(made):
    """It is refused, and the decision goes on."""
    keys, other, lock = made
    problems = []

    def take():
        with pytest.raises(LocalProtocolError) as caught:
            keys.claim("b", refuses=False, order=None, is_shared=False)
        problems.append(caught.value)

    lock.work = take
    assert 1 == keys.claim("a", refuses=False, order=None, is_shared=False)
    lock.work = lambda: None
    assert ([(0, 1)], []) == (other.elsewhere("a"), other.elsewhere("b"))
    assert ["this thread is deciding on a key: what interrupts it cannot use registries"] == list(map(str, problems))


def test_another_thread_waits_for_a_decision():
    """It is not refused, nor put off."""
    entered, go, order = threading.Event(), threading.Event(), []

    class Slow(Interrupted):
        def __init__(self):
            super().__init__(os.memfd_create("lock", os.MFD_CLOEXEC))

        def work(self):
            order.append(threading.current_thread().name)
            if len(order) == 1:
                entered.set()
                go.wait(40)

    lock = Slow()
    deciding = Deciding(lock)

    def decide():
        with deciding:
            order.append("decided")

    threads = [threading.Thread(target=decide, name=name) for name in ("first", "second")]
    threads[0].start()
    entered.wait(40)
    threads[1].start()
    assert False is deciding.is_held_here
    go.set()
    for thread in threads:
        thread.join(40)
    os.close(lock._descriptor)

    assert ["first", "decided", "second", "decided"] == order


async def test_one_key_more_than_there_is_room_for_is_refused(made):
    """It would have two owners: other workers could not know of it. Once one is given up there is room, and those who
    come while there is none do not have the cell built anew."""
    keys, other, _ = made
    claim = {"refuses": False, "order": None, "is_shared": False}
    for key in range(6):
        keys.claim(key, **claim)
    clear, cleared = keys._memory.own.clear_keys, []
    keys._memory.own.clear_keys = lambda: cleared.append(clear())
    for key in range(6, 20):
        with pytest.raises(LimitError, match="a worker has 6 keys at most, in all registries that span the workers"):
            keys.claim(key, **claim)
    assert [] == cleared
    for key in range(100):  # one goes, one comes
        keys.leave(key, None)
        keys.claim(key + 6, **claim)

    assert [False] * 100 + [True] * 6 == [bool(other.elsewhere(key)) for key in range(106)]
    assert len(cleared) < 100


async def test_a_hold_that_is_refused_for_want_of_room_leaves_nothing_behind(made):
    """The connection has no key, in this worker either."""
    keys, _, _ = made
    mesh = Mesh(1, 0, {"service": Lines()}, keys)
    elsewhere.set_current(mesh)
    registry = Registry("devices", scope="workers")
    for key in range(6):
        registry.hold(key, Device())
    with pytest.raises(LimitError):
        registry.hold(6, Device())
    found = registry.get(6), len(registry)
    elsewhere.set_current(None)
    mesh.close()

    assert (None, 6) == found
