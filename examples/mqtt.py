"""An MQTT broker: quality of service 0 and 1, retained messages, wildcards, wills.

    penstock serve examples/mqtt.py:app --bind tcp://127.0.0.1:1883
    mosquitto_sub -t 'home/+/temperature' & mosquitto_pub -t home/kitchen/temperature -m 21.5

Wire format: MQTT 3.1.1. A session lasts as long as its connection. Everybody may read and write everything.
"""

import asyncio
import itertools
import struct
from weakref import WeakValueDictionary

import penstock
from penstock.errors import BadFrameError

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK = b"\x10", b"\x20", 0x30, b"\x40", b"\x82", b"\x90"
UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT = b"\xa2", b"\xb0", b"\xc0", b"\xd0", b"\xe0"
LONGEST, MOST_FILTERS, MAX_RETAINED, MOST_RETAINED = 256, 50, 16384, 1000  # of a name; of a client; bytes; messages
Packet = tuple[bytes, bytes]  # kind and flags; what follows the length
Connection = penstock.Connection[Packet]
app = penstock.App("mqtt")
filters = WeakValueDictionary[tuple[bytes, int], penstock.Group[Packet]]()  # by filter and quality, as long as in use
retained: dict[bytes, tuple[bytes, int]] = {}  # by topic: the last message that is to stay, and its quality
numbers = itertools.cycle(range(1, 0x10000))


def take(body: bytes) -> tuple[bytes, bytes]:  # a counted string off the front, and the rest
    (size,) = struct.unpack_from(">H", body)
    return struct.unpack_from(f"{size}s", body, 2)[0], body[2 + size :]


def message(topic: bytes, payload: bytes, quality: int, flags: int = 0) -> Packet:
    number = struct.pack(">H", next(numbers)) if quality else b""
    return bytes((PUBLISH | flags | quality << 1,)), struct.pack(">H", len(topic)) + topic + number + payload


def matches(pattern: bytes, topic: bytes) -> bool:
    """Say whether a filter takes a topic in (section 4.7)."""
    wanted, levels = pattern.split(b"/"), topic.split(b"/")
    if topic.startswith(b"$") and wanted[0] in (b"#", b"+"):
        return False
    if wanted[-1] == b"#":
        wanted, levels = wanted[:-1], levels[: len(wanted) - 1]
    return len(wanted) == len(levels) and all(each in (b"+", level) for each, level in zip(wanted, levels, strict=True))


def publish(topic: bytes, payload: bytes, flags: int) -> None:
    """Give a message to all whose filters take its topic in; keep it, if it is to stay."""
    if not 0 < len(topic) <= LONGEST or b"+" in topic or b"#" in topic:
        raise BadFrameError("a topic without a name, too long, or with a wildcard")
    if flags & 1:
        retained.pop(topic, None)
        if 0 < len(payload) <= MAX_RETAINED and len(retained) < MOST_RETAINED:
            retained[topic] = payload, flags >> 1 & 1
    for (pattern, most), group in list(filters.items()):
        if matches(pattern, topic):
            group.publish(message(topic, payload, min(most, flags >> 1 & 1)))


def connect(conn: Connection, kind: bytes, body: bytes) -> tuple[bytes, tuple[bytes, bytes, int] | None]:
    """Read CONNECT; return the client's name and its will."""
    protocol, rest = take(body)
    level, flags, keepalive_s = struct.unpack_from(">BBH", rest)
    if kind != CONNECT or protocol != b"MQTT" or level != 4:
        conn.post((CONNACK, b"\0\1"))
        raise BadFrameError("the first packet is no CONNECT of MQTT 3.1.1")
    conn.set_timeouts(receive_idle_s=keepalive_s * 1.5 or None, idle_s=None)
    name, rest = take(rest[4:])
    topic, rest = take(rest) if flags & 4 else (b"", b"")
    return name or b"%d" % conn.id, (topic, take(rest)[0], flags >> 2 & 2 | flags >> 5 & 1) if flags & 4 else None


async def handle(conn: Connection, mine: dict[bytes, penstock.Membership[Packet]], kind: bytes, body: bytes) -> None:
    if kind[0] & 0xF4 == PUBLISH:  # of quality 0 or 1
        topic, payload = take(body)
        number = struct.pack(">H", *struct.unpack_from(">H", payload)) if kind[0] & 2 else b""
        publish(topic, payload[len(number) :], kind[0])
        if number:
            conn.post((PUBACK, number))
    elif kind in (SUBSCRIBE, UNSUBSCRIBE):
        number, rest, asked = body[:2], body[2:], list[tuple[bytes, int]]()
        while rest or not asked:
            pattern, rest = take(rest)
            if pattern in mine:
                mine.pop(pattern).leave()
            asked.append((pattern, min(rest[0], 1) if kind == SUBSCRIBE else 0))
            if kind == SUBSCRIBE:
                mine[pattern], rest = filters.setdefault(asked[-1], penstock.Group()).join(conn), rest[1:]
            if not 0 < len(pattern) <= LONGEST or max(len(asked), len(mine)) > MOST_FILTERS:
                raise BadFrameError("a filter without a name, too long, or one too many")
        conn.post((SUBACK, number + bytes(each for _, each in asked)) if kind == SUBSCRIBE else (UNSUBACK, number))
        for pattern, most in asked if kind == SUBSCRIBE else ():
            await asyncio.sleep(0)  # the others have their turn
            for topic in filter(retained.get, [each for each in retained if matches(pattern, each)]):
                await conn.send(message(topic, retained[topic][0], min(retained[topic][1], most), 1))
    elif kind == PINGREQ:
        conn.post((PINGRESP, b""))
    elif kind != PUBACK:
        raise BadFrameError(f"a packet of kind and flags {kind.hex()}")


@app.on_connection(codec="varint:offset=1,header=split,max=256KiB", bind="tcp://127.0.0.1:1883")
async def broker(conn: Connection) -> None:
    will, mine = None, dict[bytes, penstock.Membership[Packet]]()
    try:
        name, will = connect(conn, *await conn.receive())
        async with app.registry("clients").hold(name, conn):  # of two with one name the first has to go
            conn.post((CONNACK, b"\0\0"))
            async for kind, body in conn:
                if kind == DISCONNECT:
                    will = None
                    break
                await handle(conn, mine, kind, body)
    except (struct.error, IndexError):
        raise BadFrameError("a packet is shorter than what it has to hold") from None
    finally:
        if will is not None:
            publish(*will)
