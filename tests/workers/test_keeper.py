"""Listeners that stay open while workers come and go."""

import contextlib
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


def test_a_slot_that_asks_for_an_address_no_longer_leaves_it_to_the_others(keeper):
    """The last one keeps it: whether any worker still listens there is asked once all are new."""
    first, second = (keeper.open(slot, "echo", ["tcp://127.0.0.1:0"], **OPTIONS)[0] for slot in (1, 2))
    key = ("echo", "tcp://127.0.0.1:0")

    assert [] == keeper.leave_unasked(2, {key})
    assert [key] == keeper.leave_unasked(1, set())
    assert [] == keeper.leave_unasked(2, set())
    assert (-1, [second]) == (first.sock.fileno(), keeper.listeners)
