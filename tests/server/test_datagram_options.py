"""How much of what is not read yet the kernel holds for a datagram socket, and what is said when it is less."""

import socket
import sys

import pytest

import penstock
from penstock.server import datagram_options
from penstock.server.datagram_options import set_receive_buffer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's own part is counted by Linux alone")


@pytest.fixture
def listener(listen):
    return listen("udp://127.0.0.1:0")[0]


def in_force(listener):
    return listener.sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2


def test_what_is_asked_for_is_in_force(listener):
    """A size that every system allows."""

    assert ([], 8192) == (set_receive_buffer(listener, 8192), in_force(listener))


def test_nothing_is_set_where_nothing_is_asked_for(listener):
    """Nor on a stream, whose buffer grows as it is needed."""
    before = in_force(listener)

    assert ([], before) == (set_receive_buffer(listener, None), in_force(listener))


def test_a_stream_is_left_alone(listen):
    """TCP sizes its buffer by itself, unless it is told one."""
    (stream,) = listen("tcp://127.0.0.1:0")
    before = in_force(stream)

    assert ([], before) == (set_receive_buffer(stream, 8192), in_force(stream))


def test_less_than_asked_for_is_said_with_both_numbers(listener, monkeypatch):
    """Without the right to more, the kernel cuts it to net.core.rmem_max without a word."""
    monkeypatch.setattr(datagram_options, "_SO_RCVBUFFORCE", None)
    with open("/proc/sys/net/core/rmem_max", encoding="ascii") as file:
        most = int(file.read())
    (problem,) = set_receive_buffer(listener, most + 1024 * 1024)

    assert most == in_force(listener)
    assert problem.startswith(f"{listener.address}: the kernel gave a receive buffer of ")
    assert problem.endswith("; raise net.core.rmem_max with sysctl, or lower --receive-buffer")


async def test_a_server_says_it_when_it_starts(monkeypatch, caplog):
    """Of each datagram address."""

    def refuse(listener, size):
        return [f"{listener.kind} {size}"]

    monkeypatch.setattr("penstock.server.setup.set_receive_buffer", refuse)
    service = penstock.on_message(codec="raw")(lambda message: message)
    async with penstock.serve(service, bind="udp://127.0.0.1:0", receive_buffer="64KiB"):
        lines = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]

    assert ["datagram 65536"] == lines
