"""Where a control socket is that was given no path."""

import os
import socket

import pytest

from penstock.control import places
from penstock.errors import ConfigurationError

pytestmark = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="there are no Unix sockets")


@pytest.fixture
def environ(tmp_path):
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    return {"XDG_RUNTIME_DIR": str(runtime)}


def test_a_socket_has_a_directory_of_the_users(environ):
    """Made with mode 0700, whatever the umask lets through."""
    before = os.umask(0)
    try:
        path = places.make(environ, os.geteuid(), 7)
    finally:
        os.umask(before)

    assert f"{environ['XDG_RUNTIME_DIR']}/penstock/7.sock" == str(path)
    assert 0o700 == path.parent.stat().st_mode & 0o777
    assert path == places.make(environ, os.geteuid(), 7)


def test_without_a_runtime_directory_there_is_another_place():
    """No home is needed."""
    found = places.directory_of({"XDG_RUNTIME_DIR": "/nowhere", "HOME": "/nowhere"}, 4_000_000_000)

    assert "/tmp/penstock-4000000000" == str(found)


@pytest.mark.parametrize("spoil", ["link", "open"])
def test_a_directory_that_another_user_could_have_made_is_refused(environ, tmp_path, spoil):
    """A link to one, or one that others may write to."""
    directory = places.directory_of(environ, os.geteuid())
    if spoil == "link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        directory.symlink_to(tmp_path / "elsewhere")
    else:
        directory.mkdir()
        directory.chmod(0o777)

    with pytest.raises(ConfigurationError, match="is not this user's alone"):
        places.make(environ, os.geteuid(), 7)
    assert [] == places.found(environ, os.geteuid())


def test_a_directory_that_cannot_be_made_says_what_to_do(tmp_path):
    """The control socket was asked for: the server does not start without it."""
    (tmp_path / "penstock").write_text("")

    with pytest.raises(ConfigurationError, match="give a path"):
        places.make({"XDG_RUNTIME_DIR": str(tmp_path)}, os.geteuid(), 7)


def test_sockets_of_killed_servers_are_removed_and_those_of_living_ones_kept(environ):
    """A connection that is refused is that of nobody."""
    dead, alive = (places.make(environ, os.geteuid(), number) for number in (1, 2))
    with socket.socket(socket.AF_UNIX) as killed, socket.socket(socket.AF_UNIX) as living:
        killed.bind(str(dead))
        living.bind(str(alive))
        living.listen()
        killed.close()

        assert [dead, alive] == places.found(environ, os.geteuid())
        assert [alive] == places.alive(environ, os.geteuid())
    assert not dead.exists()
