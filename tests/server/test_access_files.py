"""Files of networks: read, named where they are wrong, and followed."""

import asyncio
import os
import threading

import pytest

from penstock.core.gate import Gate
from penstock.errors import ConfigurationError
from penstock.server.access_files import AccessFiles


def test_files_of_networks_have_remarks_and_empty_lines(tmp_path):
    """One entry per line, and it matters in which list the file is."""
    path = tmp_path / "deny.txt"
    path.write_text("\ufeff# who annoyed us\n\n192.0.2.0/24   # that network\n  uid:7\r\n", encoding="utf-8")
    access = AccessFiles(["192.0.2.9"], [f"@{path}"]).load()

    assert [False, True, False] == [access.permits(host) for host in ("192.0.2.1", "192.0.2.9", "198.51.100.1")]
    assert not access.permits_user(7, 7)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("10.0.0.0/8\nnonsense\n", r"deny\.txt:2: 'nonsense' is not a network"),
        (None, r"deny\.txt: cannot be read: No such file or directory"),
        ("10.0.0.1/8", r"deny\.txt:1: '10\.0\.0\.1/8' has bits beyond its prefix: write 10\.0\.0\.0/8"),
    ],
)
def test_a_file_that_is_wrong_is_named_with_its_line(tmp_path, content, problem):
    """Before anything is opened."""
    path = tmp_path / "deny.txt"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigurationError, match=problem):
        AccessFiles([], [f"@{path}"]).load()


def test_a_file_s_signature_changes_with_it(tmp_path):
    """Also when it goes and comes."""
    path = tmp_path / "deny.txt"
    files = AccessFiles([f"@{path}", "10.0.0.0/8"], [])
    before = files.signature()
    path.write_text("10.0.0.0/8\n")

    assert [None] == before
    assert before != files.signature()


@pytest.mark.parametrize("change", ["replaced", "written", "allowed"])
def test_a_change_that_leaves_size_and_time_as_they_were_is_one(tmp_path, change):
    """A rename over it, a tool that sets the time back, a right that was missing: each is to be read."""
    path, other = tmp_path / "deny.txt", tmp_path / "deny.txt.new"
    path.write_text("192.0.2.1\n")
    files, stat = AccessFiles([], [f"@{path}"]), path.stat()
    before = files.signature()
    while path.stat().st_ctime_ns == stat.st_ctime_ns:  # the kernel's clock for files ticks every few ms
        match change:
            case "replaced":
                other.write_text("192.0.2.2\n")
                os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
                other.replace(path)
            case "written":
                path.write_text("192.0.2.2\n")
                os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
            case "allowed":
                path.chmod(0o600)

    assert (stat.st_size, stat.st_mtime_ns) == (path.stat().st_size, path.stat().st_mtime_ns)
    assert before != files.signature()


@pytest.mark.parametrize("trouble", [MemoryError(), RuntimeError("can't start new thread")])
def test_what_could_not_be_read_for_want_of_memory_is_read_at_the_next_look(tmp_path, monkeypatch, trouble):
    """The file has changed once: nobody changes it again because the server had no memory."""
    monkeypatch.setattr("penstock.server.access_files.FOLLOW_S", 0.0)
    path = tmp_path / "deny.txt"
    path.write_text("192.0.2.1\n")
    files, gate, load, failures = AccessFiles([], [f"@{path}"]), Gate(), AccessFiles.load, [trouble] * 3

    def load_or_not(self):
        if failures:
            raise failures.pop()
        return load(self)

    monkeypatch.setattr(AccessFiles, "load", load_or_not)

    async def follow():
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            following = group.create_task(files.follow(gate, [None]))
            while gate.rules.access.permits("192.0.2.1"):
                await asyncio.sleep(0)
            following.cancel()

    asyncio.run(follow())

    assert [] == failures


def test_what_changed_since_the_files_were_read_is_read_again(tmp_path, monkeypatch, caplog):
    """Also between the reading and the first look; a file that is broken changes nothing until it is right again."""
    monkeypatch.setattr("penstock.server.access_files.FOLLOW_S", 0.0)
    path = tmp_path / "deny.txt"
    path.write_text("192.0.2.1\n")
    files, gate = AccessFiles([], [f"@{path}"]), Gate()
    before = files.signature()
    gate.set(access=files.load())

    async def edit():
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            path.write_text("192.0.2.10\n")
            following = group.create_task(files.follow(gate, before))
            while not gate.rules.access.permits("192.0.2.1"):
                await asyncio.sleep(0)
            path.write_text("# nobody\nnonsense\n")
            while "networks unchanged" not in caplog.text:
                await asyncio.sleep(0)
            assert not gate.rules.access.permits("192.0.2.10")
            path.write_text("192.0.2.100\n")
            while not gate.rules.access.permits("192.0.2.10"):
                await asyncio.sleep(0)
            following.cancel()

    asyncio.run(edit())

    assert not gate.rules.access.permits("192.0.2.100")


@pytest.mark.parametrize("hangs", ["signature", "load"])
def test_a_file_that_hangs_does_not_hold_the_end(tmp_path, monkeypatch, hangs):
    """Nor the loop: it lies on a mount that does not answer, or became a pipe into which nobody writes."""
    monkeypatch.setattr("penstock.server.access_files.FOLLOW_S", 0.0)
    path = tmp_path / "deny.txt"
    path.write_text("192.0.2.1\n")
    files, entered, answered = AccessFiles([], [f"@{path}"]), threading.Event(), threading.Event()

    def hang(self):
        entered.set()
        answered.wait()
        raise ConfigurationError("it is not there any more")

    monkeypatch.setattr(AccessFiles, hangs, hang)

    async def follow():
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            following = group.create_task(files.follow(Gate(), [None]))
            while not entered.is_set():
                await asyncio.sleep(0)
            following.cancel()

    asyncio.run(follow())
    ended = not answered.is_set()
    answered.set()

    assert ended
