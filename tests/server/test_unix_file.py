"""The file of a Unix socket: its mode, what may stand in its place, and who wins when two start at once."""

import contextlib
import errno
import os
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from penstock.address import parse_address
from penstock.errors import BindError, ExitStatus
from penstock.server.sockets import close_listeners, open_listeners
from penstock.server.unix_file import bind_unix, describe_file

TYPES = {"unix": socket.SOCK_STREAM, "unix+dgram": socket.SOCK_DGRAM, "unix+seqpacket": socket.SOCK_SEQPACKET}
every_kind = pytest.mark.parametrize("scheme", TYPES)
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="a fact of Linux")
pytestmark = pytest.mark.usefixtures("no_descriptor_leaks")


@pytest.fixture
def path(tmp_path):
    return os.fspath(tmp_path / "x.sock")


@pytest.fixture
def umask():
    """Set the process's umask; it is 0o022 at first, and what it was when the test ends."""
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


def make_stale(path, type_=socket.SOCK_STREAM):
    with socket.socket(socket.AF_UNIX, type_) as dead:
        dead.bind(path)


def mode_of(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


# -- mode -------------------------------------------------------------------------------------------------------------


@every_kind
@pytest.mark.parametrize("mask", [0, 0o022, 0o077, 0o777])
def test_the_file_is_for_its_owner_alone(listen, umask, path, scheme, mask):
    """0600, whatever the umask is."""
    umask(mask)
    listen(f"{scheme}:{path}")

    assert 0o600 == mode_of(path)


@pytest.mark.parametrize(("query", "mode"), [("?mode=0666", 0o666), ("?mode=0000", 0), ("", 0o660)])
def test_an_address_may_say_its_mode_and_else_the_server_does(listen, umask, path, query, mode):
    """Exactly that mode: the umask takes nothing off."""
    umask(0o077)
    listen(f"unix:{path}{query}", uds_mode=0o660)

    assert mode == mode_of(path)


@needs_linux
def test_there_is_no_moment_with_another_mode(listen, umask, path, monkeypatch):
    """bind(2) itself makes the file with it: no chmod comes after, and the process's umask is not touched."""
    umask(0)

    def never(*args):
        raise AssertionError

    monkeypatch.setattr(os, "chmod", never)
    monkeypatch.setattr(os, "umask", never)
    try:
        listen(f"unix:{path}")
    finally:
        monkeypatch.undo()

    assert 0o600 == mode_of(path)


@every_kind
@pytest.mark.parametrize("moment", ["bind", "chmod"])
@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_what_is_put_in_its_place_meanwhile_keeps_its_mode(umask, tmp_path, monkeypatch, scheme, moment, link):
    """Whoever may write to the directory moves the file away and puts a link there to a file of the server's user."""
    umask(0o022)
    victim, path = tmp_path / "victim", tmp_path / "x.sock"
    make_stale(os.fspath(victim))
    victim.chmod(0o600)
    chmod = os.chmod

    def swap():
        os.rename(path, tmp_path / "away")
        link(victim, path)

    class Swapped(socket.socket):
        def bind(self, name):
            super().bind(name)
            if moment == "bind":
                swap()

    def swapping_chmod(*args, **options):
        swap()
        chmod(*args, **options)

    if moment == "chmod":
        monkeypatch.setattr(os, "chmod", swapping_chmod)
    with Swapped(socket.AF_UNIX, TYPES[scheme]) as sock:
        with contextlib.nullcontext() if moment == "chmod" else pytest.raises(BindError, match="was replaced"):
            bind_unix(sock, parse_address(f"{scheme}:{path}"), 0o666)

    assert 0o600 == mode_of(victim)
    assert moment == "bind" or mode_of(tmp_path / "away") == 0o666


def test_a_file_whose_mode_cannot_be_set_is_removed_again(umask, path, monkeypatch, refusal):
    """All or none."""
    umask(0o777)

    def chmod(*args, **options):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "chmod", chmod)

    assert "operation not permitted" == refusal(f"unix:{path}").problem
    assert not os.path.lexists(path)


# -- what stands in its place -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: open(path, "x").close(), "a regular file"),
        (os.mkdir, "a directory"),
        (os.mkfifo, "a pipe"),
        (lambda path: os.symlink("nowhere", path), "a symbolic link"),
    ],
)
def test_what_is_no_socket_is_never_removed(path, make, words, refusal):
    """The words of row 24; exit status 4; and the file is as it was."""
    make(path)
    before = os.lstat(path)
    error = refusal(f"unix:{path}")

    assert f"{path} exists and is {words}, not a socket: it is not removed; use another path" == error.problem
    assert ExitStatus.BIND == error.exit_status
    assert before == os.lstat(path)


@every_kind
@pytest.mark.parametrize("dead", TYPES.values(), ids=TYPES)
def test_a_stale_socket_is_replaced(listen, path, scheme, dead):
    """Whatever kind it was: nobody has it open."""
    make_stale(path, dead)
    stale = os.lstat(path)
    (listener,) = listen(f"{scheme}:{path}")

    with socket.socket(socket.AF_UNIX, TYPES[scheme]) as client:
        client.connect(path)
    assert (listener.file.device, listener.file.inode) == (os.lstat(path).st_dev, os.lstat(path).st_ino)
    assert 0o600 == mode_of(path)
    assert stale != os.lstat(path)


@every_kind
@pytest.mark.parametrize("live", TYPES.values(), ids=TYPES)
def test_a_live_socket_is_refused(path, scheme, live, refusal):
    """Of whatever kind it is, listening or about to; and it goes on."""
    with socket.socket(socket.AF_UNIX, live) as server:
        server.bind(path)
        error = refusal(f"{scheme}:{path}")
        assert "it is in use by " in error.problem
        assert (ExitStatus.BIND, errno.EADDRINUSE) == (error.exit_status, error.errno)

        if live != socket.SOCK_DGRAM:
            server.listen()
            assert "it is in use by " in refusal(f"{scheme}:{path}").problem
        with socket.socket(socket.AF_UNIX, live) as client:
            client.connect(path)


@needs_linux
def test_the_holder_of_a_live_socket_is_named(listen, path, refusal):
    """As for a port."""
    listen(f"unix:{path}")
    expected = f"cannot listen on unix://{path}: it is in use by this process itself; stop that or use another path"

    assert expected == str(refusal(f"unix:{path}"))


@needs_linux
def test_an_abstract_name_in_use_is_refused(listen, tmp_path, refusal):
    """It has no file and is never stale."""
    listen(f"unix:@{tmp_path}")
    error = refusal(f"unix:@{tmp_path}")

    assert "it is in use by this process itself; stop that or use another name" == error.problem


def test_a_live_server_does_not_notice_the_question(listen, path, refusal):
    """It is not connected to, so it has nothing to accept, nothing to log, nothing to count."""
    (listener,) = listen(f"unix:{path}")
    refusal(f"unix:{path}")

    with pytest.raises(BlockingIOError):
        listener.sock.accept()


def test_a_full_backlog_is_alive(path, refusal):
    """A server that is too busy to accept is not dead."""
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(path)
        server.listen(0)
        client.connect(path)

        assert "it is in use by " in refusal(f"unix:{path}").problem


def test_a_datagram_socket_that_is_connected_elsewhere_is_alive(path, refusal):
    """It answers EPERM, not success."""
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as two,
    ):
        two.bind(f"{path}2")
        one.bind(path)
        one.connect(f"{path}2")

        assert "it is in use by " in refusal(f"unix+dgram:{path}").problem


def test_an_accepted_connection_does_not_keep_its_listener_alive(listen, path):
    """The old server has closed its listener and drains: a new one may take the path."""
    with socket.socket(socket.AF_UNIX) as old, socket.socket(socket.AF_UNIX) as client:
        old.bind(path)
        old.listen()
        client.connect(path)
        with old.accept()[0]:
            old.close()

            assert listen(f"unix:{path}")[0].file is not None


@needs_root
def test_a_socket_that_may_not_be_asked_is_left(tmp_path, path, refusal):
    """Another user's, with mode 0600: it may be in use."""
    make_stale(path)
    os.chmod(path, 0o600)
    for directory in (tmp_path, *tmp_path.parents):
        if directory == Path(tempfile.gettempdir()):
            break
        os.chmod(directory, 0o777)
    os.seteuid(65534)
    try:
        error = refusal(f"unix:{path}")
    finally:
        os.seteuid(0)

    assert "is a socket of another user" in error.problem
    assert os.path.lexists(path)


def test_a_missing_directory_is_named(tmp_path, refusal):
    """It is not made: a typing error would be hidden by that."""
    error = refusal(f"unix:{tmp_path}/no/x.sock")

    assert f"no such directory: {tmp_path}/no; create it" == error.problem


@needs_root
def test_a_directory_without_permission_is_named(tmp_path, refusal):
    """Not the socket, which does not exist."""
    os.seteuid(65534)
    try:
        error = refusal("unix:/penstock-test.sock")
    finally:
        os.seteuid(0)

    assert "this user may not make files in /; allow it, or use another directory" == error.problem


# -- two at once ------------------------------------------------------------------------------------------------------


@every_kind
def test_of_many_that_find_a_stale_socket_one_wins(tmp_path, scheme):
    """And it is the one that clients reach: no start removes the socket of another."""
    starters = 8
    for round_ in range(20):
        path = f"{tmp_path}/{round_}"
        make_stale(path, TYPES[scheme])
        barrier = threading.Barrier(starters)
        won, lost = [], []

        def start(path=path, barrier=barrier, won=won, lost=lost):
            barrier.wait()
            try:
                won.extend(open_listeners([parse_address(f"{scheme}:{path}")]))
            except BindError as error:
                lost.append(error.problem)

        threads = [threading.Thread(target=start) for _ in range(starters)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        try:
            assert (1, starters - 1) == (len(won), len(lost))
            assert (won[0].file.device, won[0].file.inode) == (os.lstat(path).st_dev, os.lstat(path).st_ino)
            assert all("it is in use by " in problem for problem in lost)
        finally:
            close_listeners(won)


def test_the_directory_is_free_again_afterwards(listen, tmp_path, path):
    """The lock is held while a stale socket is replaced, not longer, and leaves no file."""
    fcntl = pytest.importorskip("fcntl")
    make_stale(path)
    listen(f"unix:{path}")
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # or BlockingIOError
    finally:
        os.close(descriptor)

    assert ["x.sock"] == os.listdir(tmp_path)


def test_a_directory_that_somebody_keeps_locked_does_not_keep_us_out(listen, tmp_path, path, monkeypatch):
    """Anyone who can read a directory can lock it: waiting is bounded."""
    fcntl = pytest.importorskip("fcntl")
    monkeypatch.setattr("penstock.server.unix_file._LOCK_TRIES", 2)
    make_stale(path)
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)

        assert listen(f"unix:{path}")[0].file is not None
    finally:
        os.close(descriptor)


def test_the_socket_of_a_killed_server_is_replaced(listen, path, refusal):
    """Another process's, ended by SIGKILL: it could not remove its file."""
    script = (
        "import sys\n"
        "from penstock.address import parse_address\n"
        "from penstock.server.sockets import open_listeners\n"
        "listeners = open_listeners([parse_address(sys.argv[1])])\n"
        "print('ready', flush=True)\n"
        "sys.stdin.read()\n"
    )
    server = subprocess.Popen(
        [sys.executable, "-c", script, f"unix:{path}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with server:
        assert "ready\n" == server.stdout.readline()
        assert "it is in use by " in refusal(f"unix:{path}").problem
        server.kill()
    assert os.path.lexists(path)

    assert listen(f"unix:{path}")[0].file is not None


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        (stat.S_IFREG, "a regular file"),
        (stat.S_IFCHR, "a character device"),
        (stat.S_IFBLK, "a block device"),
        (stat.S_IFSOCK, "a socket"),
        (0, "no file of a known kind"),
    ],
)
def test_files_are_described_by_their_mode(mode, words):
    """With their article."""

    assert words == describe_file(mode)
