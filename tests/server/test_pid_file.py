"""The file with the process's number: whose it is, what it replaces, what becomes of it."""

import os
import subprocess
import sys

import pytest

from penstock.errors import ConfigurationError
from penstock.server.pid_file import PidFile

pytestmark = pytest.mark.skipif(os.name == "nt", reason="a thing of Unix")


def test_it_holds_the_number_while_it_is_written_and_is_removed(tmp_path):
    """Taken it is empty; written it holds the number and a newline; removed it is gone, twice too."""
    path = tmp_path / "pid"
    file = PidFile(str(path))
    file.take()
    taken = path.read_text()
    file.write()
    written = path.read_text()
    file.remove()
    file.remove()

    assert ("", f"{os.getpid()}\n", False) == (taken, written, path.exists())


@pytest.mark.parametrize("left", ["", "1\n", "999999999\n"])
def test_what_a_process_that_is_gone_has_left_is_taken_over(tmp_path, left):
    """The lock says who is at work, not the number: another process may have that by now."""
    path = tmp_path / "pid"
    path.write_text(left)
    file = PidFile(str(path))
    file.take()
    file.write()

    assert f"{os.getpid()}\n" == path.read_text()
    file.remove()


def test_a_file_that_a_live_process_has_is_refused_with_its_number(tmp_path):
    """And stays as it is. When that process is killed the file can be had."""
    path = tmp_path / "pid"
    code = (
        "import sys; from penstock.server.pid_file import PidFile\n"
        "file = PidFile(sys.argv[1]); file.take(); file.write(); print('taken', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        other.stdout.readline()
        with pytest.raises(ConfigurationError) as caught:
            PidFile(str(path)).take()

        assert f"pid_file: {path}: pid {other.pid} has it, and is at work; stop that" == str(caught.value)
        assert f"{other.pid}\n" == path.read_text()
        other.kill()
    file = PidFile(str(path))
    file.take()
    file.remove()


@pytest.mark.parametrize("made", ["text", "link", "directory", "pipe"])
def test_what_is_no_such_file_is_not_overwritten(tmp_path, made):
    """A mistyped name destroys nothing, and a link leads nowhere."""
    path, target = tmp_path / "pid", tmp_path / "target"
    target.write_text("1\n")
    if made == "text":
        path.write_text("root:x:0:0\n")
    elif made == "link":
        path.symlink_to(target)
    elif made == "directory":
        path.mkdir()
    else:
        os.mkfifo(path)
    with pytest.raises(ConfigurationError):
        PidFile(str(path)).take()

    assert "1\n" == target.read_text()
    assert made != "text" or path.read_text() == "root:x:0:0\n"


def test_another_file_at_its_place_is_left_alone(tmp_path):
    """What was put there meanwhile is not the server's to remove."""
    path = tmp_path / "pid"
    file = PidFile(str(path))
    file.take()
    path.unlink()
    path.write_text("7\n")
    file.remove()

    assert "7\n" == path.read_text()


def test_a_child_that_was_forked_removes_nothing(tmp_path):
    """It has the object, and neither the lock nor the file."""
    path = tmp_path / "pid"
    file = PidFile(str(path))
    file.take()
    file.write()
    pid = os.fork()
    if not pid:
        file.remove()
        os._exit(0)
    os.waitpid(pid, 0)

    assert f"{os.getpid()}\n" == path.read_text()
    file.remove()
