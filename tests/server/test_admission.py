"""From options to rules: what the machine allows, what files say."""

import asyncio
import logging
import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.address.networks import AccessList
from penstock.config import Action, GateConfig, ServerConfig
from penstock.core.gate import Gate
from penstock.errors import ConfigurationError
from penstock.reasons import Refusal
from penstock.server.admission import AccessFiles, affordable, descriptors_for, rules_of


def rules(descriptors=None, places=None, **options):
    gate = GateConfig(**{name: value for name, value in options.items() if name not in ("model", "once")})
    rest = {name: value for name, value in options.items() if name in ("model", "once")}
    return rules_of(ServerConfig(gate=gate, **rest), AccessList(), descriptors, places=places)


@pytest.mark.parametrize(
    ("descriptors", "limit", "per_peer"),
    [(None, 10_000, 2_500), (1_000_000, 10_000, 2_500), (1024, 864, 216), (64, 43, 10), (4, 2, 1), (1, 1, 1)],
)
def test_the_default_is_ten_thousand_or_what_the_descriptors_allow(descriptors, limit, per_peer):
    """Nine tenths of what is left after a reserve; a quarter of it for one address, but not on this machine."""
    found = rules(descriptors)

    assert (limit, per_peer, False) == (found.max_connections, found.max_per_peer, found.loopback_counts)


@pytest.mark.parametrize(
    ("options", "most"),
    [({}, 1000), ({"max_connections": 5}, 1), ({"max_handshakes": 7}, 7), ({"max_handshakes": None}, None)],
)
def test_a_tenth_of_the_connections_may_have_yet_to_show_who_they_are(options, most):
    """Or as many as somebody said; where connections have no limit, these have none."""
    assert most == rules(**options).max_handshakes
    assert rules(max_connections=None).max_handshakes is None


@pytest.mark.parametrize(
    ("options", "shares"),
    [
        ({}, (64, 25)),
        ({"max_connections": 40}, (10, 4)),
        ({"max_connections": None}, (64, 25)),
        ({"max_per_peer": 300, "max_handshakes": None}, (300, None)),
        ({"max_per_peer": None, "max_handshakes": 256}, (None, 256)),
    ],
)
def test_where_each_connection_holds_a_thread_a_share_is_one_of_the_threads(options, shares):
    """A quarter of 10,000 would be all of 256; the total stays what it was, for whoever has no thread waits."""
    found = rules(places=256, **options)

    assert shares == (found.max_per_peer, found.max_handshakes)
    assert rules(**options).max_connections == found.max_connections


@pytest.mark.parametrize(
    ("options", "limit", "warning"),
    [
        ({}, 248, None),
        ({"max_connections": None}, 248, None),
        ({"max_connections": 100}, 100, None),
        (
            {"max_connections": 250},
            248,
            "max_connections lowered from 250 to 248: each connection takes one of 256 threads, 8 are reserved",
        ),
        ({"reserve": 300}, 1, None),
    ],
)
def test_the_reserve_has_threads_of_its_own_where_each_connection_holds_one(options, limit, warning, caplog):
    """Whoever waits for a thread waits in the backlog, and a health check would stand behind."""
    found = rules(places=256, reserve_for=("192.0.2.1",), **options)

    assert (limit, max(1, limit // 4)) == (found.max_connections, found.max_per_peer)
    assert [warning] * bool(warning) == caplog.messages


@given(st.integers(1, 10_000_000))
def test_what_is_asked_for_is_enough(connections):
    """The two formulas are each other's inverse, where there are descriptors enough for the whole reserve."""
    wanted = descriptors_for(connections)

    assert connections <= affordable(max(wanted, 256))


def test_a_limit_that_is_too_high_is_lowered_and_both_numbers_are_said(caplog):
    """Valkey's way; found out at the start, not under load."""
    with caplog.at_level(logging.WARNING, logger="penstock"):
        found = rules(1024, max_connections=5000)

    assert 864 == found.max_connections
    assert [
        "max_connections lowered from 5000 to 864: the process is limited to 1024 descriptors; "
        "raise that with ulimit -n 5620 or LimitNOFILE= in its systemd unit"
    ] == [record.getMessage() for record in caplog.records]


def test_the_descriptors_of_the_reserve_are_no_part_of_what_everybody_shares(caplog):
    """They are taken off before the limit is worked out, and added to what is asked for."""
    with caplog.at_level(logging.WARNING, logger="penstock"):
        found = rules(1024, max_connections=5000, reserve=24, reserve_for=("127.0.0.1",))

    assert (842, 24) == (found.max_connections, found.reserve)
    assert "ulimit -n 5644" in caplog.messages[0]
    assert 0 == rules(1024, reserve=24).reserve


def test_no_limit_has_to_be_typed():
    """And is one then."""
    found = rules(64, max_connections=None, max_per_peer=None)

    assert (None, None) == (found.max_connections, found.max_per_peer)


def test_a_number_for_each_peer_holds_for_peers_on_this_machine_too():
    """Whoever says it means everybody."""
    assert rules(max_per_peer=15).loopback_counts


@pytest.mark.parametrize("options", [{"model": "one-at-a-time"}, {"once": True}])
def test_one_at_a_time_is_a_limit_of_one_that_waits(options):
    """Others wait in the backlog, whatever is said about the refused."""
    found = rules(on_refusal=("close",), **options)

    assert (1, Action.WAIT) == (found.max_connections, found.action(Refusal.LIMIT))
    assert Action.CLOSE is found.action(Refusal.DENIED)


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
    monkeypatch.setattr("penstock.server.admission.FOLLOW_S", 0.0)
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
    monkeypatch.setattr("penstock.server.admission.FOLLOW_S", 0.0)
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
    monkeypatch.setattr("penstock.server.admission.FOLLOW_S", 0.0)
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
