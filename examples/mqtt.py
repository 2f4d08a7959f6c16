"""An MQTT broker: quality of service 0 and 1, retained messages, wildcards, wills.

    penstock serve examples/mqtt.py:app --bind tcp://127.0.0.1:1883
    mosquitto_sub -t 'home/+/temperature' & mosquitto_pub -t home/kitchen/temperature -m 21.5

Wire format: MQTT 3.1.1. A session lasts as long as its connection. Everybody may read and write everything.
"""

import itertools
import struct

import penstock
from penstock.errors import BadFrameError

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK = b"\x10", b"\x20", 0x30, b"\x40", b"\x82", b"\x90"
UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT = b"\xa2", b"\xb0", b"\xc0", b"\xd0", b"\xe0"
Packet = tuple[bytes, bytes]  # kind and flags; what follows the length
Connection = penstock.Connection[Packet]
app = penstock.App("mqtt")
filters: dict[tuple[bytes, int], penstock.Group[Packet]] = {}  # by filter and highest quality: who subscribed
retained: dict[bytes, tuple[bytes, int]] = {}  # by topic: the last message that is to stay, and its quality
numbers = itertools.cycle(range(1, 0x10000))


def take(body: bytes) -> tuple[bytes, bytes]:
    """Take a counted string off the front; return it and the rest."""
    (size,) = struct.unpack_from(">H", body)
    if len(body) < 2 + size:
        raise BadFrameError("a string is longer than its packet")
    return body[2 : 2 + size], body[2 + size :]


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
    if not topic or b"+" in topic or b"#" in topic:
        raise BadFrameError("a topic without a name, or with a wildcard")
    if flags & 1:
        retained.pop(topic, None)
        if payload:
            retained[topic] = payload, flags >> 1 & 1
    for (pattern, most), group in list(filters.items()):
        if not len(group):
            del filters[pattern, most]
        elif matches(pattern, topic):
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


def handle(conn: Connection, kind: bytes, body: bytes) -> None:
    number, rest, codes, old = body[:2], body[2:], b"", list[Packet]()
    if kind[0] & 0xF4 == PUBLISH:  # of quality 0 or 1
        topic, payload = take(body)
        publish(topic, payload[kind[0] & 2 :], kind[0])
        if kind[0] & 2:
            conn.post((PUBACK, payload[:2]))
    elif kind in (SUBSCRIBE, UNSUBSCRIBE):
        while rest:
            pattern, rest = take(rest)
            for group in (filters[pattern, each] for each in (0, 1) if (pattern, each) in filters):
                group.leave(conn)
            if kind == SUBSCRIBE:
                quality, rest = min(rest[0], 1), rest[1:]
                codes += bytes((quality,))
                filters.setdefault((pattern, quality), penstock.Group()).join(conn)
                kept = [(topic, *last) for topic, last in retained.items() if matches(pattern, topic)]
                old += [message(topic, payload, min(most, quality), 1) for topic, payload, most in kept]
        for packet in ((SUBACK if kind == SUBSCRIBE else UNSUBACK, number + codes), *old):
            conn.post(packet)
    elif kind == PINGREQ:
        conn.post((PINGRESP, b""))
    elif kind != PUBACK:
        raise BadFrameError(f"a packet of kind and flags {kind.hex()}")


@app.on_connection(codec="varint:offset=1,header=split,max=256KiB", bind="tcp://127.0.0.1:1883")
async def broker(conn: Connection) -> None:
    """Serve one client until it leaves."""
    will = None
    try:
        name, will = connect(conn, *await conn.receive())
        async with app.registry("clients").hold(name, conn):  # of two with one name the first has to go
            conn.post((CONNACK, b"\0\0"))
            async for kind, body in conn:
                if kind == DISCONNECT:
                    will = None
                    break
                handle(conn, kind, body)
    except (struct.error, IndexError):
        raise BadFrameError("a packet is shorter than what it has to hold") from None
    finally:
        if will is not None:
            publish(*will)
