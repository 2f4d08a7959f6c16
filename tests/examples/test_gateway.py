"""The gateway: a simulated tracker at one end, socat at the operator's; frames cut anywhere."""

import contextlib
import socket
import sqlite3
import threading

import gateway
import pytest
from gateway import GT06, Packet
from hypothesis import given, settings
from hypothesis import strategies as st

import penstock
from penstock.testing import check_codec

IMEI = "123456789012345"
LOGIN = Packet(gateway.LOGIN, bytes.fromhex("0" + IMEI), 1)
WHERE = (107_910_000).to_bytes(4, "big") + (19_350_000).to_bytes(4, "big")  # 59.95 and 10.75 degrees, in 1/1,800,000
POSITION = Packet(gateway.POSITION, bytes(7) + WHERE + bytes(3), 2)
ALIVE = Packet(gateway.ALIVE, b"\x05", 3)


@pytest.fixture(scope="module")
def served(start):
    return start("gateway.py:app", "--bind", "tracker=tcp://127.0.0.1:0", "--bind", "admin=unix:admin.sock")


@pytest.fixture
def admin(served, program):
    """Say something to the operator's socket, by socat; return the answer."""

    def say(line):
        return program("socat", "-t", "20", "-", f"UNIX:{served.directory}/admin.sock", input=f"{line}\n").rstrip("\n")

    return say


class Tracker:
    """A simulated device: it answers each command with the command in capitals."""

    def __init__(self, port):
        self.conn = penstock.connect_sync(f"tcp://127.0.0.1:{port}", codec=GT06())
        self.conn.send(LOGIN)
        assert Packet(gateway.LOGIN, b"", 1) == self.conn.receive(20)

    def answer_commands(self):
        """Until the connection ends."""
        with contextlib.suppress(penstock.ClosedError):
            for packet in self.conn:
                if packet.kind == gateway.COMMAND:
                    self.conn.send(Packet(gateway.BROUGHT, packet.body[:5] + packet.body[5:].upper(), 9))


@pytest.mark.outside
def test_an_operator_asks_a_device(served, admin):
    """Where it is, out of the database; and what it answers to a command."""
    tracker = Tracker(served.port)
    with tracker.conn:
        tracker.conn.send(POSITION)
        tracker.conn.send(ALIVE)
        assert Packet(gateway.ALIVE, b"", 3) == tracker.conn.receive(20)
        thread = threading.Thread(target=tracker.answer_commands)
        thread.start()
        answers = [
            admin(line) for line in ("list", f"where {IMEI}", f"ask {IMEI} status#", "ask 1 status#", "where 1", "?")
        ]
        tracker.conn.close()
        thread.join(20)

    assert [IMEI, "59.95000 10.75000", "STATUS#", "not connected", "unknown"] == answers[:5]
    assert "list, where IMEI, or ask IMEI COMMAND" == answers[5]
    with sqlite3.connect(served.directory / "fleet.db") as db:
        rows = db.execute("SELECT imei, latitude, longitude FROM position").fetchall()
    db.close()
    assert (IMEI, 59.95, 10.75) in rows


def test_an_operator_at_another_worker_asks_a_device(start):
    """The command goes to the worker that has it, and the answer comes back."""
    binds = [word for name in ("tracker", "admin") for word in ("--bind", f"{name}=tcp://127.0.0.1:0")]
    served = start("gateway.py:app", *binds, "--workers", "2")
    tracker = Tracker(served.ports[0])
    with tracker.conn, contextlib.ExitStack() as stack:
        thread = threading.Thread(target=tracker.answer_commands)
        thread.start()
        while True:  # until one is at the worker that does not have the device
            admin = stack.enter_context(socket.create_connection(("127.0.0.1", served.ports[1]), 20))
            lines = admin.makefile("rwb", buffering=0)
            lines.write(b"list\n")
            if IMEI.encode() not in lines.readline():
                break
        lines.write(b"ask %b status#\n" % IMEI.encode())
        reply = lines.readline()
        tracker.conn.close()
        thread.join(20)

    assert b"STATUS#\n" == reply


def test_a_device_that_connects_anew_takes_the_place_of_its_old_connection(served):
    """The old one is closed."""
    old, new = Tracker(served.port), Tracker(served.port)
    with old.conn, new.conn:
        with pytest.raises(penstock.EndOfStreamError):
            old.conn.receive(20)
        new.conn.send(ALIVE)

        assert Packet(gateway.ALIVE, b"", 3) == new.conn.receive(20)


def test_the_codec_obeys_every_law():
    """Its check, its end, its length: a frame where one is wrong is refused."""
    frame = GT06().encode(LOGIN)
    wires = [frame, frame[:-1] + b"x", frame[:-4] + b"xx\r\n", b"\x78\x79", b"\x78\x78\x04" + bytes(9), frame[:9], b"y"]
    check_codec(GT06(), [LOGIN, POSITION, ALIVE, Packet(1, bytes(245), 65535)], wires)


def test_the_check_is_that_of_the_manual():
    """The example of the GT06 protocol's document: a login with the serial number 1."""

    assert bytes.fromhex("78780d01012345678901234500018cdd0d0a") == GT06().encode(
        Packet(gateway.LOGIN, bytes.fromhex("0123456789012345"), 1)
    )


@given(cuts=st.lists(st.integers(1, 12), max_size=20))
@settings(max_examples=15)
def test_where_the_network_cuts_the_bytes_does_not_matter(served, cuts):
    """A login, two positions and two signs of life are answered alike."""
    codec = GT06()
    wire = b"".join(map(codec.encode, [LOGIN, POSITION, ALIVE, POSITION, ALIVE._replace(number=4)]))
    expected = [Packet(gateway.LOGIN, b"", 1), Packet(gateway.ALIVE, b"", 3), Packet(gateway.ALIVE, b"", 4)]

    assert b"".join(map(codec.encode, expected)) == served.replies(wire, cuts)


def test_who_does_not_log_in_is_let_go(served):
    """Another packet first, or no frame at all."""

    assert (b"", b"") == (served.replies(GT06().encode(ALIVE)), served.replies(b"GET / HTTP/1.1\r\n\r\n"))


def test_a_stop_closes_the_database(served):
    """SIGTERM with a device connected: it ends well, as the fixture checks at the end of the module."""
    with socket.create_connection(("127.0.0.1", served.port), 20) as sock:
        sock.sendall(GT06().encode(LOGIN))

        assert GT06().encode(Packet(gateway.LOGIN, b"", 1)) == sock.recv(100)
