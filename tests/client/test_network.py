"""Connected is not "somebody is there": a socket whose source is what it connects to is connected to itself."""

import asyncio
import errno
import select
import shutil
import socket
import subprocess
import sys

import pytest

import penstock
from penstock.client import SocketOptions, open_datagrams
from penstock.engines.wire import is_connected_to_itself, reset_on_close
from penstock.testing.peers import dial

SCHEMES = pytest.mark.parametrize("scheme", ["tcp", "udp"])
HOSTS = pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])


@pytest.fixture
def port(reserve):
    """A port that nobody has, and that the system gives to nobody who does not ask for it."""
    return reserve()


@SCHEMES
@HOSTS
async def test_in_a_loop_it_is_refused(scheme, host, port):
    """`connect` and `try_connect` say what is true, and the port is free again at once."""
    address, options = f"{scheme}://{host}:{port}", SocketOptions(local=f"{host}:{port}")
    with pytest.raises(penstock.ConnectError) as caught:
        await penstock.connect(address, options=options)
    result = await penstock.try_connect(address, options=options)

    assert (errno.ECONNREFUSED, "ECONNREFUSED") == (caught.value.errno, result.errno_name)
    with socket.socket(socket.AF_INET6 if host == "[::1]" else socket.AF_INET) as server:
        server.bind((host.strip("[]"), port))


@SCHEMES
@HOSTS
def test_without_a_loop_it_is_refused(scheme, host, port):
    """`connect_sync`, likewise."""
    with pytest.raises(penstock.ConnectError) as caught:
        penstock.connect_sync(f"{scheme}://{host}:{port}", options=SocketOptions(local=f"{host}:{port}"))

    assert errno.ECONNREFUSED == caught.value.errno


async def test_an_open_socket_may_send_to_itself():
    """That is asked for: `open_datagrams` is connected to nobody."""
    async with await open_datagrams("udp://127.0.0.1:0") as sock:
        await sock.send_to(b"hello", str(sock.local))
        received, _ = await asyncio.wait_for(sock.receive_from(), 20)

    assert b"hello" == received


def test_a_pair_of_sockets_is_not_itself():
    """Neither is a Unix socket without a name, whose two ends are called the same."""
    one, other = socket.socketpair()
    with one, other, socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        with dial(address) as sock:
            found = [is_connected_to_itself(one), is_connected_to_itself(sock)]

    assert [False, False] == found


def test_a_peer_that_has_reset_the_connection_is_not_itself():
    """It was there: what is sent or received next says that it went."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as sock:
        peer, _ = server.accept()
        reset_on_close(peer)
        peer.close()
        select.select([sock], [], [])

        assert not is_connected_to_itself(sock)
        with pytest.raises(ConnectionResetError):
            sock.recv(1)


# The one port that the system gives out is the one that is connected to.
ALONE = """
{python} -c 'import fcntl, socket, struct
fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sh", b"lo", 0x41))'
echo "40000 40000" > /proc/sys/net/ipv4/ip_local_port_range
"""


@pytest.mark.outside
@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("unshare"), reason="needs unshare(1)")
@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["send", "tcp://127.0.0.1:40000", "hi"], "connection refused"),
        (["send", "udp://127.0.0.1:40000", "hi"], "connection refused"),
        (["connect", "tcp://127.0.0.1:40000"], "connection refused"),
        (["probe", "tcp://127.0.0.1:40000"], "ECONNREFUSED"),
        (["bench", "tcp://127.0.0.1:40000"], "connection refused"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else "",
)
def test_every_command_says_refused_where_the_system_gives_out_the_very_port(command, told):
    """In a network of its own, whose range of ports is one port."""
    script = ALONE.format(python=sys.executable) + 'exec "$@"'
    done = subprocess.run(
        ["unshare", "-rn", "sh", "-c", script, "sh", sys.executable, "-m", "penstock", *command],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )
    if "unshare" in done.stderr:
        pytest.skip(f"no network of one's own here: {done.stderr.strip()}")

    assert (1, True) == (done.returncode, told in done.stdout + done.stderr)
