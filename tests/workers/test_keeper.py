"""Listeners that stay open while workers come and go."""

import contextlib
import errno
import itertools
import socket
import sys

import pytest

from penstock.errors import BindError
from penstock.workers.keeper import Keeper

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere SO_REUSEPORT does not spread")

OPTIONS = {"backlog": 16, "reuse_address": True, "uds_mode": 0o600}


@pytest.fixture
def keeper():
    """A keeper, which is closed at the end."""
    made = Keeper()
    yield made
    made.close()


def test_each_slot_has_a_listener_of_its_own_on_one_port(keeper):
    """A successor gets the same one. The port that the system chose is one for all."""
    (first,) = keeper.open(1, "echo", ["tcp://127.0.0.1:0"], **OPTIONS)
    (second,) = keeper.open(2, "echo", ["tcp://127.0.0.1:0"], **OPTIONS)

    assert first.address == second.address
    assert first.sock.fileno() != second.sock.fileno()
    assert [first] == keeper.open(1, "echo", ["tcp://127.0.0.1:0"], **OPTIONS)
    assert all(map(keeper.is_own, (first, second)))
    assert 2 == keeper.slots
    for option in ((socket.SOL_SOCKET, socket.SO_REUSEADDR), (socket.IPPROTO_TCP, socket.TCP_NODELAY)):
        assert [1, 1] == [bool(each.sock.getsockopt(*option)) for each in (first, second)]


def test_services_may_each_ask_the_system_for_a_port(keeper):
    """The address as it is configured is not what tells them apart."""
    (one,) = keeper.open(1, "one", ["tcp://127.0.0.1:0"], **OPTIONS)
    (two,) = keeper.open(1, "two", ["tcp://127.0.0.1:0"], **OPTIONS)

    assert one.address != two.address


def test_unix_sockets_are_one_for_all_slots_and_their_files_go_at_the_end(keeper, tmp_path):
    """It cannot be bound twice."""
    path = tmp_path / "s"
    address = f"unix:{path}"
    (first,), (second,) = (keeper.open(slot, "echo", [address], **OPTIONS) for slot in (1, 2))

    assert first is second
    assert not keeper.is_own(first)
    assert path.exists()
    keeper.close()
    assert not path.exists()


def test_a_port_that_is_taken_opens_nothing(keeper, reserve):
    """What was open before stays as it was."""
    port = reserve()
    keeper.open(1, "echo", ["tcp://127.0.0.1:0"], **OPTIONS)
    with socket.create_server(("127.0.0.1", port)), pytest.raises(BindError):
        keeper.open(1, "echo", ["tcp://127.0.0.1:0", f"tcp://127.0.0.1:{port}"], **OPTIONS)

    assert 1 == len(keeper.listeners)


def test_a_slot_that_is_left_closes_its_own_and_may_come_back(keeper):
    """Its worker has the socket still; the next one gets another. Also the first slot may go."""
    for slot in (1, 2, 3):
        keeper.open(slot, "echo", ["tcp://127.0.0.1:0", "udp://127.0.0.1:0"], **OPTIONS)
    addresses = [str(each.address) for each in keeper.open(3, "echo", ["tcp://127.0.0.1:0"], **OPTIONS)]
    keeper.leave(1)
    keeper.leave(2)

    assert 2 == len(keeper.listeners)
    again = keeper.open(2, "echo", ["tcp://127.0.0.1:0"], **OPTIONS)
    assert addresses == [str(each.address) for each in again]
    assert 3 == len(keeper.listeners)


def test_what_nobody_asks_for_any_more_is_closed(keeper):
    """After a roll to other addresses."""
    (old,) = keeper.open(1, "echo", ["tcp://127.0.0.1:0"], **OPTIONS)
    keeper.open(1, "echo", ["tcp://127.0.0.2:0"], **OPTIONS)

    assert ["tcp://127.0.0.1:0"] == keeper.close_but({("echo", "tcp://127.0.0.2:0")})
    with contextlib.closing(socket.socket()) as sock, pytest.raises(ConnectionRefusedError):
        sock.connect(("127.0.0.1", old.address.port))


def test_what_another_supervisor_kept_is_kept_on():
    """Slot by slot, and place by place: nothing is opened anew."""
    old, new = Keeper(), Keeper()
    with contextlib.closing(old), contextlib.closing(new):
        for slot in (1, 2):
            old.open(slot, "echo", ["tcp://127.0.0.1:0"], **OPTIONS)
        for key, places in old.places.items():
            for number, place in enumerate(places):
                for slot, listener in place.by_slot.items():
                    new.adopt(key, number, slot, listener)

        assert old.listeners == new.listeners
        assert old.open(2, "echo", ["tcp://127.0.0.1:0"], **OPTIONS) == new.open(
            2, "echo", ["tcp://127.0.0.1:0"], **OPTIONS
        )


def accepts(listener):
    """Return whether a listener listens still."""
    return bool(listener.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def test_a_slot_that_asks_for_an_address_no_longer_leaves_it_to_the_others(keeper):
    """What is kept of the last one does not listen: no worker accepts from it. It reserves the port."""
    first, second = (keeper.open(slot, "echo", ["tcp://127.0.0.1:0"], **OPTIONS)[0] for slot in (1, 2))
    key = ("echo", "tcp://127.0.0.1:0")

    assert [] == keeper.leave_unasked(2, {key})
    assert [key] == keeper.leave_unasked(1, set())
    assert (-1, [second]) == (first.sock.fileno(), keeper.listeners)
    assert [key] == keeper.leave_unasked(2, set())
    assert [] == keeper.leave_unasked(2, set())
    assert (-1, [second.address], [False]) == (
        second.sock.fileno(),
        [each.address for each in keeper.listeners],
        [accepts(each) for each in keeper.listeners],
    )


@pytest.mark.parametrize("count", [1, 2, 3])
def test_slots_leave_and_come_back_in_any_order(count):
    """None is kept that is closed; a port is listened on by the slots that have it and by no other, and stays reserved.

    An address of UDP is one that receives as long as it is open: there is no other way to reserve it.
    """
    addresses = ["tcp://127.0.0.1:0", "udp://127.0.0.1:0"]
    slots = range(1, count + 1)
    for order in itertools.permutations(slots):
        for ways in itertools.product(["shed", "unasked"], repeat=count):
            with contextlib.closing(Keeper()) as keeper:
                found = [[each.address for each in keeper.open(slot, "echo", addresses, **OPTIONS)] for slot in slots]
                left = set(slots)
                for slot, way in zip(order, ways, strict=True):
                    keeper.leave(slot) if way == "shed" else keeper.leave_unasked(slot, set())
                    left.discard(slot)

                    assert -1 not in [each.sock.fileno() for each in keeper.listeners]
                    assert (max(left, default=0), len(left)) == (keeper.slots, sum(map(accepts, keeper.listeners)))
                for slot in order:
                    again = keeper.open(slot, "echo", addresses, **OPTIONS)
                    assert found[0] == [each.address for each in again]
                    assert [True, False] == [accepts(each) for each in again]


def test_a_port_that_cannot_be_reserved_is_kept_as_it_is(keeper, monkeypatch):
    """There is no descriptor for it: who has left may come back all the same."""
    (first,) = keeper.open(1, "echo", ["tcp://127.0.0.1:0"], **OPTIONS)

    def fails(*_arguments, **_options):
        raise OSError(errno.EMFILE, "on purpose")

    monkeypatch.setattr("penstock.workers.keeper.twin", fails)
    keeper.leave(1)

    assert [first] == keeper.listeners
    assert [first] == keeper.open(1, "echo", ["tcp://127.0.0.1:0"], **OPTIONS)
