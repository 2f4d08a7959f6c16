"""Keys that other workers can be told, and what becomes of the others."""

import enum
import ipaddress
import types
import uuid

import pytest

import penstock
from penstock.groups import elsewhere
from penstock.groups.keys import plain_key


class Colour(enum.StrEnum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Folded(str):
    """Its equality is one that no other worker knows."""

    __slots__ = ()

    def __eq__(self, other):
        return self.lower() == other.lower()

    def __hash__(self):
        return hash(self.lower())


class Loud(bytes):
    __slots__ = ()


@pytest.mark.parametrize(
    ("key", "plain"),
    [
        ("device", "device"),
        (b"device", b"device"),
        (None, None),
        (7, 7),
        (7.0, 7),
        (True, 1),
        (-0.0, 0),
        (7.5, 7.5),
        (1e300, 1e300),
        (float("inf"), float("inf")),
        (2**64 - 1, 2**64 - 1),
        (-(2**63), -(2**63)),
        (Colour.RED, "red"),
        (Level.HIGH, 3),
        (Loud(b"x"), b"x"),
        ((), ()),
        (("site", (1.0, Colour.RED)), ("site", (1, "red"))),
    ],
)
def test_equal_keys_have_one_that_is_told(key, plain):
    """Of plain data alone: its text is what all workers know it by."""
    assert (plain, repr(plain)) == (plain_key(key), repr(plain_key(key)))


UNTOLD = [
    (uuid.UUID(int=1), "a UUID"),
    (ipaddress.ip_address("192.0.2.1"), "a IPv4Address"),
    (2**64, "a number of more than 64 bits"),
    (-(2**63) - 1, "a number of more than 64 bits"),
    ("\ud800", "a str that is no text"),
    (Folded("X"), "a Folded"),
    (float("nan"), "a float"),
    (frozenset(), "a frozenset"),
    (("a", object()), "a object"),
]


@pytest.mark.parametrize(("key", "what"), UNTOLD)
def test_a_key_that_cannot_be_told_is_refused_by_what_spans_the_workers(key, what):
    """By its type, and with what to do."""
    with pytest.raises(penstock.ConfigurationError, match=f"key is {what}: other workers are told plain data"):
        plain_key(key)


@pytest.fixture(params=["alone", "a worker"])
def is_worker(request):
    """Whether this process has others beside it, which know no key."""
    is_worker = request.param == "a worker"
    elsewhere.set_current(types.SimpleNamespace(find=lambda *_: [], claim=lambda *_, **__: 1) if is_worker else None)
    yield is_worker
    elsewhere.set_current(None)


@pytest.mark.parametrize("scope", ["process", "workers"])
@pytest.mark.parametrize(("key", "what"), UNTOLD)
def test_a_publication_has_any_key_where_no_worker_is_told_of_it(scope, is_worker, key, what):
    """As a registry."""
    group = penstock.App().group("prices", scope=scope)
    if scope == "workers" and is_worker:
        with pytest.raises(penstock.ConfigurationError, match=f"key is {what}: other workers are told plain data"):
            group.publish(b"1", on_slow="latest", key=key)
    else:
        group.publish(b"1", on_slow="latest", key=key)

    assert (scope == "process" or not is_worker) == bool(group.stats.published)


@pytest.mark.parametrize("scope", ["process", "workers"])
async def test_a_registry_takes_any_key_where_no_worker_is_told_of_it(scope, is_worker):
    """One that spans the workers takes none that they cannot be told, and the connection has no key then."""
    app = penstock.App()
    found = []

    @app.on_message(codec="lines", bind="tcp://127.0.0.1:0")
    def device(conn, message):
        registry = app.registry("devices", scope=scope)
        for key, _ in UNTOLD:
            try:
                registry.hold(key, conn)
            except penstock.ConfigurationError:
                found.append(registry.get(key))
            else:
                found.append(registry.get(key) is conn)
        return message

    async with app.test() as t:
        peer = await t.connect("device")
        await peer.request(b"hello")

    assert [scope == "process" or not is_worker or None] * len(UNTOLD) == found
