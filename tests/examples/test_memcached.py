"""The memcached, by pymemcache and libmemcached's memccapable; commands cut anywhere."""

import re
import tracemalloc
from pathlib import Path

import memcached
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.fixture(scope="module")
def served(start):
    return start("memcached.py:memcached", "--bind", "tcp://127.0.0.1:0")


@pytest.fixture
def client(served):
    """A client of pymemcache, with an empty store."""
    base = pytest.importorskip("pymemcache.client.base")
    client = base.Client(("127.0.0.1", served.port), connect_timeout=20, timeout=20)
    client.flush_all()
    yield client
    client.close()


@pytest.mark.outside
def test_pymemcache_gets_what_it_set(client):
    """Every command of it, with a reply and without."""
    assert client.set("a", b"one")
    assert client.set("b", b"two\r\nlines", noreply=False)
    assert {"a": b"one", "b": b"two\r\nlines"} == client.get_many(["a", "b", "c"])
    assert (False, True) == (client.add("a", b"x", noreply=False), client.add("c", b"3", noreply=False))
    assert (False, True) == (client.replace("d", b"x", noreply=False), client.replace("a", b"1", noreply=False))
    assert client.append("b", b"!", noreply=False)
    assert client.prepend("b", b"?", noreply=False)
    assert b"?two\r\nlines!" == client.get("b")
    assert (5, 2, 0, None) == (client.incr("c", 2), client.decr("c", 3), client.decr("c", 9), client.incr("no", 1))
    value, unique = client.gets("a")
    assert (True, False) == (client.cas("a", b"new", unique), client.cas("a", b"late", unique))
    assert (b"1", b"new") == (value, client.get("a"))
    assert (True, False) == (client.touch("a", 60, noreply=False), client.touch("no", 60, noreply=False))
    assert client.set("gone", b"x", expire=-1, noreply=False)
    assert client.get("gone") is None
    assert (True, False) == (client.delete("a", noreply=False), client.delete("a", noreply=False))
    assert 2 == client.stats()[b"curr_items"]


@pytest.mark.outside
def test_a_value_of_1_mib_is_the_largest(client):
    """What announces more is not read: the connection is over."""
    from pymemcache.exceptions import MemcacheError

    assert client.set("large", bytes(1024 * 1024), noreply=False)
    assert bytes(1024 * 1024) == client.get("large")
    with pytest.raises((MemcacheError, OSError)):
        client.set("larger", bytes(1024 * 1024 + 1), noreply=False)


@pytest.mark.outside
def test_memccapable_finds_the_text_protocol_capable(served, program):
    """All of its tests of the text protocol pass."""
    printed = program("memccapable", "-h", "127.0.0.1", "-p", str(served.port), "-a")

    assert "All tests passed" in printed, printed


COMMANDS = (
    b"flush_all\r\nset a 5 0 3\r\nx\r\n\r\nget a b\r\nset b 0 0 1 noreply\r\ny\r\ngets b\r\nset c 0 0 1\r\nzz\r\n"
    b"\r\nappend a 0 0 1\r\n!\r\nget a\nincr a 1\r\ncas no 0 0 1 7\r\nx\r\nfoo\r\nquit\r\nget a\r\n"
)
REPLIES = (
    b"OK\r\nSTORED\r\nVALUE a 5 3\r\nx\r\n\r\nEND\r\nVALUE b 0 1 #\r\ny\r\nEND\r\nCLIENT_ERROR bad data chunk\r\n"
    b"ERROR\r\nERROR\r\nSTORED\r\nVALUE a 5 4\r\nx\r\n!\r\nEND\r\n"
    b"CLIENT_ERROR cannot increment or decrement non-numeric value\r\nNOT_FOUND\r\nERROR\r\n"
)


@given(cuts=st.lists(st.integers(1, 20), max_size=30))
@settings(max_examples=15)
def test_where_the_network_cuts_the_bytes_does_not_matter(served, cuts):
    """Commands, values with line ends in them, and what is none are answered alike, but for the number of a change."""
    assert REPLIES == re.sub(rb"(VALUE b 0 1) \d+", rb"\1 #", served.replies(COMMANDS, cuts))


def test_what_announces_no_value_is_a_line_like_any_other():
    """The bytes after it are commands: nothing is swallowed for a number that is none."""
    announced = memcached.ANNOUNCES.fullmatch(b"cas key 5 -1 12 77 noreply")

    assert announced is not None
    assert (b"cas", b"cas", b"key", b"5", b"-1", b"12", b"77", b" noreply") == announced.groups()
    for line in (b"set key 5 0 -1", b"set key 5 0", b"cas key 5 0 1", b"set " + b"k" * 251 + b" 0 0 1", b"get key"):
        assert memcached.ANNOUNCES.fullmatch(line) is None


def test_the_oldest_values_give_way(monkeypatch):
    """Above 64 MiB; here above what two of them take."""
    most = 2 * (len(b"a") + 4 + memcached.OVERHEAD)
    monkeypatch.setattr(memcached, "MAX_ITEMS", most)
    store = memcached.Store()
    for key in (b"a", b"b", b"c"):
        store.store(b"set", key, memcached.Item(b"0", bytes(4), float("inf")))

    assert ([b"b", b"c"], most) == (list(store.items), store.bytes)


@pytest.mark.parametrize("size", [0, 1000])
def test_what_python_holds_for_each_item_counts(monkeypatch, size):
    """Many empty values take no more memory than a few long ones."""
    monkeypatch.setattr(memcached, "MAX_ITEMS", 1024 * 1024)
    store = memcached.Store()
    tracemalloc.start()
    try:
        for number in range(10_000):
            key = b"%d" % number
            store.store(b"set", key, memcached.Item(b"%d" % number, bytes(size), 2e9 + number))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert 100 < len(store.items) < 10_000
    assert most < 1024 * 1024 + 256 * 1024


def test_a_client_that_asks_for_much_at_once_is_sent_an_item_at_a_time(served):
    """A thousand words are not answered by as many copies of a value in memory."""
    value = bytes(1024 * 1024)
    assert served.replies(b"set k 0 0 %d\r\n%b\r\n" % (len(value), value)) == b"STORED\r\n"
    before = peak_bytes(served.process.pid)
    item = b"VALUE k 0 %d\r\n%b\r\n" % (len(value), value)

    assert item * 100 + b"END\r\n" == served.replies(b"get" + b" k" * 100 + b"\r\n")
    assert 40 * 1024 * 1024 > peak_bytes(served.process.pid) - before


def peak_bytes(pid):
    """The most that a process was resident with."""
    status = Path(f"/proc/{pid}/status").read_text()
    return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])


def test_flags_and_lengths_of_ten_digits_announce_a_value(served):
    """Flags are 32 bits; a length that is too long is one still, and what follows it is no command."""
    replies = served.replies(b"set ten 4294967295 0 3\r\nabc\r\nget ten\r\nset ten 0 0 1000000000000\r\nversion\r\n")

    assert b"STORED\r\nVALUE ten 4294967295 3\r\nabc\r\nEND\r\n" == replies
