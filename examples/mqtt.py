"""An MQTT broker: quality of service 0 and 1, retained messages, wildcards, wills.

    penstock serve examples/mqtt.py:app --bind tcp://127.0.0.1:1883
    mosquitto_sub -t 'home/+/temperature' & mosquitto_pub -t home/kitchen/temperature -m 21.5

Wire format: MQTT 3.1.1. A session lasts as long as its connection, and CONNACK never says that there was one before; so
a message of quality 1 is sent once. Everybody may read and write everything.
"""

from __future__ import annotations

import struct

from mqtt_packets import Kind, Mqtt, Packet, matches, message, take

import penstock
from penstock.errors import BadFrameError

app = penstock.App("mqtt")
Connection = penstock.Connection[Packet]
filters: dict[tuple[bytes, int], penstock.Group[Packet]] = {}  # by filter and highest quality: who subscribed
retained: dict[bytes, tuple[bytes, int]] = {}  # by topic: the last message that is to stay, and its quality


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


def subscribe(conn: Connection, number: bytes, rest: bytes) -> None:
    codes, old = b"", []
    while rest:
        pattern, rest = take(rest)
        quality, rest = min(rest[0], 1), rest[1:]
        unsubscribe(conn, pattern)
        filters.setdefault((pattern, quality), penstock.Group()).join(conn)
        codes += bytes((quality,))
        old += [
            message(topic, text, min(most, quality), 1)
            for topic, (text, most) in retained.items()
            if matches(pattern, topic)
        ]
    conn.post(Packet(Kind.SUBACK, 0, number + codes))
    for each in old:
        conn.post(each)


def unsubscribe(conn: Connection, pattern: bytes) -> None:
    for quality in (0, 1):
        if (pattern, quality) in filters:
            filters[pattern, quality].leave(conn)


def connect(conn: Connection, packet: Packet) -> tuple[bytes, tuple[bytes, bytes, int] | None]:
    """Read CONNECT; return the client's name and its will."""
    protocol, rest = take(packet.body)
    level, flags, keepalive_s = struct.unpack_from(">BBH", rest)
    if packet.kind != Kind.CONNECT or protocol != b"MQTT" or level != 4:
        conn.post(Packet(Kind.CONNACK, 0, b"\0\1"))
        raise BadFrameError("the first packet is no CONNECT of MQTT 3.1.1")
    conn.set_timeouts(receive_idle_s=keepalive_s * 1.5 or None, idle_s=None)
    name, rest = take(rest[4:])
    name = name or b"%d" % conn.id
    if not flags & 4:
        return name, None
    topic, rest = take(rest)
    return name, (topic, take(rest)[0], flags >> 2 & 2 | flags >> 5 & 1)


@app.on_connection(codec=Mqtt(), bind="tcp://127.0.0.1:1883")
async def broker(conn: Connection) -> None:
    """Serve one client until it leaves."""
    will = None
    try:
        name, will = connect(conn, await conn.receive())
        async with app.registry("clients").hold(name, conn):  # of two with one name the first has to go
            conn.post(Packet(Kind.CONNACK, 0, b"\0\0"))
            async for packet in conn:
                match packet:
                    case Packet(Kind.PUBLISH, flags, body) if flags & 4 == 0:
                        topic, payload = take(body)
                        number, payload = (payload[:2], payload[2:]) if flags & 2 else (b"", payload)
                        publish(topic, payload, flags)
                        if number:
                            await conn.send(Packet(Kind.PUBACK, 0, number))
                    case Packet(Kind.SUBSCRIBE, 2, body):
                        subscribe(conn, body[:2], body[2:])
                    case Packet(Kind.UNSUBSCRIBE, 2, body):
                        rest = body[2:]
                        while rest:
                            pattern, rest = take(rest)
                            unsubscribe(conn, pattern)
                        await conn.send(Packet(Kind.UNSUBACK, 0, body[:2]))
                    case Packet(Kind.PINGREQ):
                        await conn.send(Packet(Kind.PINGRESP))
                    case Packet(Kind.DISCONNECT):
                        will = None
                        return
                    case Packet(Kind.PUBACK):
                        pass
                    case _:
                        raise BadFrameError(f"a packet of kind {packet.kind} with flags {packet.flags}")
    except (struct.error, IndexError):
        raise BadFrameError("a packet is shorter than what it has to hold") from None
    finally:
        if will is not None:
            publish(*will)
