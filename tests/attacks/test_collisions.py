"""T-39: keys of one hash, which make a dict of n of them cost n² comparisons; and that nothing here unpacks a bomb.

Strings and bytes have a hash with a secret in it. Numbers have none: theirs is what a division by 2⁶¹ - 1 leaves. Nor
have tuples and sets: theirs is made of those of their items.
"""

import ast
import itertools
import struct
import time
from ipaddress import IPv6Address
from pathlib import Path

import pytest

import penstock
from penstock.address.networks import AccessList
from penstock.codecs import Buffer
from penstock.config import Timeouts
from penstock.core.gate import Gate
from penstock.core.rules import Rules
from penstock.errors import BadPayloadError

PRIME = 2**61 - 1
ALL = 2**64
# The constants of tuple.__hash__ (Objects/tupleobject.c).
PRIME_1, PRIME_2, PRIME_5 = 11400714785074694791, 14029467366897019727, 2870177450012600261
KEYS = 30_000


def pairs_of_one_hash(count):
    """Pairs of ints of 64 bits: each first one has a second one that leads to any hash wanted."""
    undo = pow(PRIME_2, -1, ALL)
    pairs = []
    first = 2**60
    while len(pairs) < count:
        first += 1
        mixed = (PRIME_5 + first * PRIME_2) % ALL
        mixed = ((mixed << 31 | mixed >> 33) % ALL) * PRIME_1 % ALL
        second = (12345 - mixed) * undo % ALL
        if second < PRIME:
            pairs.append((first, second))
    return pairs


def msgpack_map(keys):
    return b"\xdf" + struct.pack(">I", len(keys)) + b"".join(key + b"\x00" for key in keys)


def packed_pairs(pairs):
    return [b"\x92\xcf" + struct.pack(">Q", first) + b"\xcf" + struct.pack(">Q", second) for first, second in pairs]


def packed_floats(floats):
    return [b"\xcb" + struct.pack(">d", number) for number in floats]


def resp_map(keys):
    return b"%%%d\r\n" % len(keys) + b"".join(key + b":1\r\n" for key in keys)


def resp_set(members):
    return b"~%d\r\n" % len(members) + b"".join(members)


def test_the_attack_is_real():
    """A thousand pairs of one hash cost many times what a thousand others cost."""
    costs = []
    for pairs in (pairs_of_one_hash(2000), [(number, number) for number in range(2000)]):
        began = time.process_time()
        dict.fromkeys(pairs)
        costs.append(time.process_time() - began)

    assert 1 == len(set(map(hash, pairs_of_one_hash(2000))))
    assert costs[0] > 20 * costs[1]


HOSTILE = {
    "Msgpack, arrays": ("Msgpack", lambda: msgpack_map(packed_pairs(pairs_of_one_hash(KEYS)))),
    "Resp, big numbers": ("Resp", lambda: resp_map([b"(%d\r\n" % (PRIME * (index + 8)) for index in range(KEYS)])),
}


@pytest.mark.parametrize("which", HOSTILE)
def test_what_can_be_made_to_collide_without_end_is_no_key(codecs, which, figure):
    """It is refused before a second one is looked at."""
    name, make = HOSTILE[which]
    codec, wire = getattr(codecs, name)(), make()
    cost_s, error = costs(codec, wire)
    kind = kind_of(codecs)
    figure(f"T-39 {kind} {which}: {KEYS} keys of one hash, {len(wire)} bytes: refused in {1000 * cost_s:.1f} ms of CPU")

    assert BadPayloadError is type(error)
    assert 0.5 > cost_s  # 7 s at least without that


def test_a_set_of_them_is_listed(codecs):
    """What is no key is no member of a set of Python's, and nothing is hashed."""
    wire = resp_set([b"(%d\r\n" % (PRIME * (index + 8)) for index in range(KEYS)])
    began = time.process_time()
    members = codecs.Resp().decode(Buffer(wire))
    cost_s = time.process_time() - began

    assert (list, KEYS) == (type(members).__base__, len(members))
    assert 0.5 > cost_s


def kind_of(codecs):
    return "python" if codecs is penstock.codecs else "compiled"


def costs(codec, wire):
    """How much CPU one frame costs, and what it is refused with."""
    buffer, error = Buffer(wire), None
    began = time.process_time()
    try:
        codec.decode(buffer)
    except BadPayloadError as caught:
        error = caught
    return time.process_time() - began, error


def test_what_can_be_made_to_collide_a_little_costs_a_little(codecs, figure):
    """A double of the next 61st power of two has the same hash, for each 34 of them: no more than that are compared."""
    colliding = [number * 2.0 ** (61 * power) for number in range(1, 6001, 2) for power in range(-16, 16)]
    others = [number + 0.1 for number in range(len(colliding))]
    codec = codecs.Msgpack()
    (hostile_s, _), (harmless_s, _) = (costs(codec, msgpack_map(packed_floats(each))) for each in (colliding, others))
    kind = kind_of(codecs)
    figure(
        f"T-39 {kind} Msgpack, doubles: {len(colliding)} keys, 32 of each hash: {1000 * hostile_s:.0f} ms of CPU, "
        f"as many others {1000 * harmless_s:.0f} ms"
    )

    assert len(colliding) == 32 * len(set(map(hash, colliding)))
    assert 30 * harmless_s > hostile_s


@pytest.mark.parametrize(("codec", "which"), [("msgpack", "Msgpack, arrays"), ("resp", "Resp, big numbers")])
def test_a_frame_of_colliding_keys_ends_one_connection(serve, opened, tools, codec, which, engine, figure):
    """The next peer is served meanwhile."""
    service = penstock.on_message(codec=codec)(lambda message: message)
    bomb = HOSTILE[which][1]()
    with serve(service, timeouts=Timeouts(linger_s=0.0, drain_s=10.0)) as server:
        attacker, honest = server.dial(), server.dial()
        opened.extend([attacker, honest])
        attacker.sendall(bomb)
        (reason,) = server.reasons(1)
        message = service.codec.encode([b"a", b"b"])
        answer = tools.ask(honest, message)
    figure(f"T-39 {engine.label} {codec}: {len(bomb)} bytes of colliding keys: {reason}")

    assert "bad_payload" == reason
    assert message == answer


def addresses_of_one_remainder(count, prefix):
    """IPv6 addresses whose leading bits, as a number, leave the same when divided by the prime of Python's ints."""
    base = (0x20010DB8 << 96) >> (128 - prefix)
    return [str(IPv6Address((base + number * PRIME) << (128 - prefix))) for number in range(count)]


@pytest.mark.parametrize("prefix", [128, 80])
def test_a_peer_that_chooses_its_address_does_not_choose_its_hash(prefix):
    """At the gate, in its buckets, and in a list of networks that was made of attackers' addresses."""
    hosts = addresses_of_one_remainder(100, prefix)
    gate = Gate(Rules(ipv6_prefix=prefix))
    access = AccessList(deny=[f"{host}/{prefix}" for host in hosts])
    keys = [gate._key(host) for host in hosts]
    (networks,) = access._entries.values()

    assert 1 == len({hash(int(IPv6Address(host)) >> (128 - prefix)) for host in hosts})
    assert 100 == len(set(map(hash, keys))) == len(set(map(hash, networks)))


def test_nothing_is_decompressed():
    """No module of the package can: there is no decompression bomb where there is no decompression."""
    able = {"zlib", "gzip", "bz2", "lzma", "zipfile", "tarfile", "zstandard", "brotli", "compression"}
    imported = set()
    for path in Path(penstock.__file__).parent.rglob("*.py*"):
        if path.suffix == ".py":
            for node in ast.walk(ast.parse(path.read_bytes())):
                if isinstance(node, ast.Import):
                    imported.update(alias.name.partition(".")[0] for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    imported.add(node.module.partition(".")[0])
        elif path.suffix == ".pyx":
            words = path.read_text().split()
            pairs = itertools.pairwise(words)
            imported.update(word.partition(".")[0] for before, word in pairs if before in {"import", "from"})

    assert set() == able & imported
