"""The gate's limits are those of the whole server, whichever worker a connection comes to, whatever becomes of that."""

import contextlib
import os
import signal
import socket
import threading
import time

import pytest

from penstock.control.client import Control
from penstock.control.messages import Limits, Reload, Status
from penstock.engines.registry import ENGINES, native_missing
from penstock.workers.cells import AVAILABLE

from .conftest import ask, pid_of

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="no memory without a name here")

_ESTABLISHED = 1  # from netinet/tcp.h

each_engine = pytest.mark.parametrize("engine", [name for name in ENGINES if name != "native" or not native_missing()])


def is_let_in(served, source="127.0.0.1"):
    """Connect; return the connection if it is let in, None if it is refused."""
    peer = socket.socket()
    peer.settimeout(20)
    with contextlib.suppress(ConnectionError):
        peer.bind((source, 0))
        peer.connect(served.address)
        if ask(peer):
            return peer
    peer.close()
    return None


def let_in(served):
    """Connect until a connection is let in: who has left a moment ago may still be counted."""
    while (peer := is_let_in(served)) is None:
        pass
    return peer


@each_engine
def test_a_limit_holds_over_all_workers_and_a_killed_one_gives_its_places_back(supervise, engine):
    """`--max-connections` and `--max-per-peer`: each of both is tried, with connections at every worker."""
    served = supervise("app:who", "--engine", engine, "--max-connections", "6", "--max-per-peer", "5", workers=3)
    peers = [is_let_in(served) for _ in range(5)]
    assert None not in peers
    assert [None] * 6 == [is_let_in(served) for _ in range(6)]

    other = is_let_in(served, "127.0.0.2")
    assert other is not None
    assert None is is_let_in(served, "127.0.0.3")
    peers.pop().close()
    peers.append(let_in(served))
    assert [None] * 3 == [is_let_in(served) for _ in range(3)]

    at = [pid_of(peer) for peer in peers]
    victim = max(at, key=at.count)
    os.kill(victim, signal.SIGKILL)
    served.said("ended by itself")
    left = [peer for peer, pid in zip(peers, at, strict=True) if pid != victim]
    after = [let_in(served) for _ in range(5 - len(left))]
    assert [None] * 3 == [is_let_in(served) for _ in range(3)]
    for peer in [other, *peers, *after]:
        peer.close()
    assert 0 == served.stop()


@each_engine
def test_those_who_wait_are_served_by_whichever_worker_has_them_once_there_is_room(supervise, engine):
    """`--on-refusal limit=wait`. None of them is refused, and there is never one more than the limit."""
    served = supervise("app:who", "--engine", engine, "--max-connections", "4", "--on-refusal", "limit=wait", workers=3)
    inside, most, problems, lock = set(), [], [], threading.Lock()

    def come_and_go(name):
        try:
            for number in range(6):
                with served.connect() as peer:
                    ask(peer, b"in")
                    with lock:
                        inside.add((name, number))
                        most.append(len(inside))
                    assert ask(peer, b"still in").endswith("still in")
                    with lock:
                        inside.remove((name, number))
        except (OSError, AssertionError) as error:
            problems.append(error)

    clients = [threading.Thread(target=come_and_go, args=(name,)) for name in range(12)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()

    assert [] == problems
    assert 4 >= max(most)
    assert 0 == served.stop()


def is_there(peer):
    """Whether neither end of a connection has ended, as far as the kernel of this one has heard."""
    try:
        return peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _ESTABLISHED
    except OSError:  # its client has closed it
        return False


def most_at_once(served, clients, answers, kills):
    """Have clients come and go until there were so many answers, and so many workers were killed meanwhile.

    Return how many were in at once, at most: a worker's connections are gone before its places are given to others.
    """
    ends, inside, most, lock = threading.Event(), {}, [], threading.Lock()

    def come_and_go(name):
        while not ends.is_set():
            with contextlib.suppress(OSError), contextlib.closing(served.connect()) as peer:
                for _ in range(3):
                    if not ask(peer, b"still in"):
                        break
                    with lock:
                        inside[name] = peer
                        most.append(sum(is_there(each) for each in inside.values()))
                with lock:
                    inside.pop(name, None)
            with lock:
                inside.pop(name, None)

    threads = [threading.Thread(target=come_and_go, args=(name,)) for name in range(clients)]
    for thread in threads:
        thread.start()
    for number in range(kills):
        while len(most) < answers * (number + 1) // (kills + 1):
            time.sleep(0.01)
        os.kill(min(served.children()), signal.SIGKILL)
        served.said("ended by itself")
    while len(most) < answers:
        time.sleep(0.01)
    ends.set()
    for thread in threads:
        thread.join()
    return max(most)


def test_no_limit_is_passed_while_clients_come_and_go_and_workers_are_killed(supervise):
    """Under one address. Nobody is left out in the end: what killed workers had is free again."""
    served = supervise("app:who", "--max-per-peer", "4", workers=4)
    most = most_at_once(served, 10, answers=2000, kills=3)
    peers = [let_in(served) for _ in range(4)]

    assert [None] * 4 == [is_let_in(served) for _ in range(4)]
    assert 4 == most
    for peer in peers:
        peer.close()
    assert 0 == served.stop()


@pytest.mark.parametrize("workers", [None, 2])
def test_a_limit_that_was_set_holds_until_the_configuration_changes_it(supervise, directory, workers):
    """`penstock ctl limits set`, with workers as in one process: read again as it is, it changes nothing."""
    file = directory / "penstock.toml"
    file.write_text('control = "c.sock"\nmax_per_peer = 7\n')
    served = supervise("app:who", workers=workers)

    def reloaded(text):
        """Read this configuration; return the limit."""
        file.write_text(f'control = "c.sock"\nmax_per_peer = {text}\n')
        control.ask(Reload())
        return control.ask(Limits())[0]["who"]["max_per_peer"]

    with Control(str(directory / "c.sock"), 20) as control:
        control.ask(Limits(set={"max_per_peer": "3"}))

        assert "3" == reloaded("7")
        assert "5" == reloaded("5")
        assert "7" == reloaded("7")
    assert 0 == served.stop()


def test_a_rate_is_that_of_all_workers(supervise):
    """`--accept-rate`: as many are let in as one process lets in, however many there are."""
    served = supervise("app:who", "--accept-rate", "5/h", workers=3)
    found = [is_let_in(served) for _ in range(12)]

    assert 5 == sum(peer is not None for peer in found)
    for peer in found:
        if peer is not None:
            peer.close()
    assert 0 == served.stop()


def test_the_rate_of_datagrams_is_that_of_each_worker(supervise, directory):
    """`--datagram-rate-per-peer`: of 60 from as many ports of one address each worker handles three."""
    options = "--datagram-rate-per-peer", "3/h", "--control", "c.sock"
    served = supervise("app:who", *options, bind=("udp://127.0.0.1:0",))
    with contextlib.ExitStack() as stack:
        for _ in range(60):
            peer = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            peer.connect(served.address)
            peer.send(b"hello")
        control = stack.enter_context(Control(str(directory / "c.sock"), 20))
        while True:
            found = control.ask(Status())[0]["services"]["who"]
            if found["datagrams"] + sum(found["datagrams_dropped"].values()) >= 60:
                break

    assert (6, {"peer_rate": 54}) == (found["datagrams"], found["datagrams_dropped"])
    assert 0 == served.stop()
