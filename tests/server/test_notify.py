"""What a service manager is told, over the socket that it names."""

import asyncio
import os
import signal
import socket
import subprocess
import sys

import pytest

from penstock.server.notify import Notifier

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a thing of systemd")


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    """A service manager's socket, and its address as NOTIFY_SOCKET has it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.settimeout(20)
        sock.bind("" if request.param == "abstract" else str(tmp_path / "notify"))
        name = sock.getsockname()
        yield sock, "@" + name[1:].decode() if isinstance(name, bytes) else name


def lines(sock):
    return sock.recv(4096).decode().split("\n")


def test_a_server_says_that_it_is_ready_reloads_and_stops(manager, tmp_path):
    """In this order, each once; READY again when it has reloaded."""
    sock, address = manager
    process = subprocess.Popen(
        [sys.executable, "-m", "penstock", "serve", "echo", "--bind", f"unix:{tmp_path}/s"],
        cwd=tmp_path,
        env=os.environ | {"NOTIFY_SOCKET": address},
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    with process:
        assert ["READY=1", f"STATUS=serving echo on unix://{tmp_path}/s"] == lines(sock)
        process.send_signal(signal.SIGHUP)
        reloading, since = lines(sock)
        assert ("RELOADING=1", "MONOTONIC_USEC") == (reloading, since.partition("=")[0])
        assert int(since.partition("=")[2]) > 0
        assert "READY=1" == lines(sock)[0]
        process.terminate()
        assert ["STOPPING=1", "STATUS=draining 0 connections"] == lines(sock)
        assert 0 == process.wait(20)


async def test_signs_of_life_come_from_the_loop(manager):
    """Twice as often as the manager expects them."""
    sock, address = manager
    sock.setblocking(False)
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "2000"}, 7)
    notifier.ready("echo", ["tcp://127.0.0.1:9000", "unix:///s"])
    loop = asyncio.get_running_loop()

    assert b"READY=1\nSTATUS=serving echo on tcp://127.0.0.1:9000, unix:///s" == await loop.sock_recv(sock, 100)
    assert [b"WATCHDOG=1"] * 3 == [await loop.sock_recv(sock, 100) for _ in range(3)]
    notifier.close()


@pytest.mark.parametrize(
    ("environ", "asked"),
    [
        ({}, None),
        ({"NOTIFY_SOCKET": ""}, None),
        ({"NOTIFY_SOCKET": "relative"}, None),
        ({"NOTIFY_SOCKET": "vsock:2:1234"}, None),
        ({"NOTIFY_SOCKET": "/s"}, (None,)),
        ({"NOTIFY_SOCKET": "/s", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, (30.0,)),
        ({"NOTIFY_SOCKET": "/s", "WATCHDOG_USEC": "30000000"}, (30.0,)),
        ({"NOTIFY_SOCKET": "/s", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, (None,)),
        ({"NOTIFY_SOCKET": "/s", "WATCHDOG_USEC": "soon"}, (None,)),
        ({"NOTIFY_SOCKET": "/s", "WATCHDOG_USEC": "0"}, (None,)),
    ],
)
def test_what_the_environment_asks_for(environ, asked):
    """What is malformed, or for another process, asks for nothing."""
    notifier = Notifier.from_environment(environ, 7)
    if notifier is not None:
        notifier.close()

    assert asked == (None if notifier is None else (notifier.watchdog_s,))


def test_a_manager_that_is_not_there_is_no_trouble(tmp_path, caplog):
    """Row 51: one line at debug, and the server serves."""
    caplog.set_level("DEBUG", "penstock")
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": f"{tmp_path}/none"}, 7)
    notifier.ready("echo", [])
    notifier.reloaded()
    notifier.close()

    assert [f"the service manager is not told: {tmp_path}/none: No such file or directory"] == caplog.messages
