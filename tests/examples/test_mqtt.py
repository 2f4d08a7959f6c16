"""The MQTT broker, by paho-mqtt and mosquitto's clients; packets cut anywhere."""

import asyncio
import queue
import subprocess

import mqtt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

PATIENCE_S = 20


@pytest.fixture(scope="module")
def served(start):
    return start("mqtt.py:app", "--bind", "tcp://127.0.0.1:0")


@pytest.fixture
def join(served):
    """Clients of paho-mqtt, each with a queue of what it heard."""
    paho = pytest.importorskip("paho.mqtt.client")
    clients = []

    def connect(name="", **options):
        heard, subscribed = queue.Queue(), queue.Queue()
        client = paho.Client(paho.CallbackAPIVersion.VERSION2, name, **options)
        client.on_message = lambda _client, _data, message: heard.put(
            (message.topic, message.payload, message.qos, message.retain)
        )
        client.on_subscribe = lambda _client, _data, _number, codes, _properties: subscribed.put(
            [int(code.value) for code in codes]
        )
        client.on_unsubscribe = lambda *_arguments: subscribed.put("left")
        client.heard, client.subscribed = heard, subscribed
        client.connect("127.0.0.1", served.port)
        client.loop_start()
        clients.append(client)
        return client

    yield connect
    for client in clients:
        client.disconnect()
        client.loop_stop()


@pytest.mark.outside
def test_paho_hears_what_its_filters_take_in(join):
    """With the lower of the two qualities; nothing else, and nothing after it has left."""
    reader, writer = join(), join()
    reader.subscribe([("home/+/heat", 1), ("logs/#", 0)])
    assert [1, 0] == reader.subscribed.get(timeout=PATIENCE_S)
    for topic, quality in [("home/bath/heat", 1), ("home/bath", 1), ("logs", 1), ("logs/a/b", 0), ("home/heat", 0)]:
        writer.publish(topic, topic.upper(), qos=quality).wait_for_publish(PATIENCE_S)
    heard = [reader.heard.get(timeout=PATIENCE_S) for _ in range(3)]
    reader.unsubscribe("logs/#")
    assert "left" == reader.subscribed.get(timeout=PATIENCE_S)
    writer.publish("logs/x", "x", qos=1).wait_for_publish(PATIENCE_S)
    writer.publish("home/x/heat", "last", qos=1).wait_for_publish(PATIENCE_S)

    assert [("home/bath/heat", 1), ("logs", 0), ("logs/a/b", 0)] == [(topic, quality) for topic, _, quality, _ in heard]
    assert ("home/x/heat", b"last", 1, False) == reader.heard.get(timeout=PATIENCE_S)


@pytest.mark.outside
def test_paho_hears_what_was_retained(join):
    """By those who come later, told as old; an empty one takes it back."""
    writer, reader = join(), join()
    writer.publish("old/news", "kept", qos=1, retain=True).wait_for_publish(PATIENCE_S)
    reader.subscribe("old/+", 1)
    first = reader.heard.get(timeout=PATIENCE_S)
    writer.publish("old/news", b"", qos=1, retain=True).wait_for_publish(PATIENCE_S)
    assert ("old/news", b"", 1, False) == reader.heard.get(timeout=PATIENCE_S)
    late = join()
    late.subscribe("old/+", 1)
    writer.publish("old/end", "end", qos=1).wait_for_publish(PATIENCE_S)

    assert ("old/news", b"kept", 1, True) == first
    assert [1] == late.subscribed.get(timeout=PATIENCE_S)


@pytest.mark.outside
def test_a_will_is_published_when_its_client_is_gone(join, served):
    """And not when it has taken leave."""
    reader = join()
    reader.subscribe("wills/+")
    assert [0] == reader.subscribed.get(timeout=PATIENCE_S)
    flags = b"\x06"
    will = b"\0\x07wills/a\0\x04gone"
    body = b"\0\4MQTT\4" + flags + b"\0\0" + b"\0\1w" + will
    assert b"\x20\2\0\0" == served.replies(bytes((0x10, len(body))) + body)
    assert b"\x20\2\0\0" == served.replies(bytes((0x10, len(body))) + body + b"\xe0\0")

    assert ("wills/a", b"gone", 0, False) == reader.heard.get(timeout=PATIENCE_S)
    assert reader.heard.empty()


@pytest.mark.outside
def test_a_client_with_the_name_of_another_takes_its_place(join):
    """The first is let go (section 3.1.4)."""
    gone = queue.Queue()
    first = join("twin", reconnect_on_failure=False)
    first.on_disconnect = lambda *_arguments: gone.put("gone")
    first.subscribe("x")
    first.subscribed.get(timeout=PATIENCE_S)
    join("twin", reconnect_on_failure=False)

    assert "gone" == gone.get(timeout=PATIENCE_S)


@pytest.mark.outside
@pytest.mark.parametrize("quality", ["0", "1"])
def test_mosquitto_sub_hears_mosquitto_pub(served, program, quality):
    """A retained message, so that the one need not wait for the other; 200 messages after it, in order."""
    port = ("-p", str(served.port), "-q", quality)
    program("mosquitto_pub", *port, "-t", f"m/{quality}", "-m", "first", "-r")
    reader = subprocess.Popen(
        ["mosquitto_sub", *port, "-t", "m/+", "-C", "201", "-W", "20", "-F", "%p"], stdout=subprocess.PIPE, text=True
    )
    assert "first\n" == reader.stdout.readline()
    program("mosquitto_pub", *port, "-t", f"m/{quality}", "-l", input="".join(f"{number}\n" for number in range(200)))
    heard, _ = reader.communicate(timeout=PATIENCE_S)
    program("mosquitto_pub", *port, "-t", f"m/{quality}", "-n", "-r")

    assert [str(number) for number in range(200)] == heard.splitlines()


@pytest.mark.parametrize(
    ("pattern", "topic", "expected"),
    [
        ("a/b", "a/b", True),
        ("a/+", "a/", True),
        ("+", "/a", False),
        ("/+", "/a", True),
        ("a/#", "a", True),
        ("a/#", "a/b/c", True),
        ("#", "a/b", True),
        ("#", "$SYS/x", False),
        ("+/x", "$SYS/x", False),
        ("$SYS/#", "$SYS/x", True),
        ("a/+/c", "a/b/d", False),
    ],
)
def test_a_filter_takes_topics_in(pattern, topic, expected):
    """Section 4.7."""

    assert expected == mqtt.matches(pattern.encode(), topic.encode())


SESSION = bytes.fromhex(
    "10 0d 0004 4d515454 04 02 003c 0001 63"
    "82 08 0001 0003 612f2b 01"
    "32 0a 0003 612f62 0007 686579"
    "c0 00"
    "a2 07 0002 0003 612f2b"
    "32 0a 0003 612f62 0008 686579"
    "e0 00"
)


@given(cuts=st.lists(st.integers(1, 9), max_size=30))
@settings(max_examples=15)
def test_where_the_network_cuts_the_bytes_does_not_matter(served, cuts):
    """A whole session is answered alike, but for the number of the message."""
    replies = served.replies(SESSION, cuts)
    heard = replies.index(b"\x32\x0a\0\3a/b")
    replies = replies[: heard + 7] + replies[heard + 9 :]

    assert sorted(bytes.fromhex("20020000 9003000101 320a0003612f62686579 40020007 d000 b0020002 40020008")) == sorted(
        replies
    )


CONNECT = bytes.fromhex("10 0d 0004 4d515454 04 02 003c 0001 63")
FILTER = b"\0\x01a\0"


def packet(kind, body):
    size = bytes((len(body),)) if len(body) < 128 else bytes((len(body) & 0x7F | 0x80, len(body) >> 7))
    return bytes((kind,)) + size + body


@pytest.mark.parametrize(
    "wire",
    [
        packet(0x82, b"\0\1"),
        packet(0x82, b""),
        packet(0x82, b"\0\1\0\1a"),
        packet(0x82, b"\0\1\0\0\0"),
        packet(0x82, b"\0\1" + b"\x01\x01" + b"a" * 257 + b"\0"),
        packet(0x82, b"\0\1" + FILTER * 51),
        packet(0x82, b"\0\1" + b"".join(b"\0\2%02d\0" % number for number in range(51))),
        packet(0xA2, b"\0\1"),
        packet(0xA2, b"\0\1" + b"\0\1a" * 51),
        packet(0x32, b"\0\1a"),
        packet(0x32, b"\0\1a\0"),
        packet(0x30, b"\x01\x01" + b"a" * 257),
    ],
    ids=[
        "subscribe to nothing",
        "no number",
        "no quality",
        "a filter without a name",
        "a filter too long",
        "a filter too often",
        "too many filters",
        "unsubscribe from nothing",
        "unsubscribe too often",
        "publish without a number",
        "half a number",
        "a topic too long",
    ],
)
def test_a_packet_that_lacks_something_or_asks_for_too_much_ends_its_connection(served, wire):
    """It is not answered by another one that lacks it, and does not hold the others up."""

    assert b"\x20\2\0\0" == served.replies(CONNECT + wire + b"\xc0\0")


def test_filters_are_bounded_for_a_client_as_well(served):
    """Not only for a packet: 50 are accepted, one after the other, and not a 51st; one that is asked for again is."""
    each = [packet(0x82, b"\0\1" + b"\0\2%02d\0" % number) for number in range(51)]
    accepted = bytes.fromhex("20020000") + bytes.fromhex("9003000100") * 51

    assert accepted == served.replies(CONNECT + b"".join(each[:50] + each[:1] + each[50:]))


async def test_a_filter_is_forgotten_with_its_last_subscriber():
    """Whether it unsubscribes, takes leave, is cut off or breaks the protocol; nobody has to publish anything."""
    subscribe = b"\x82", b"\0\1\0\3a/+\1"
    async with mqtt.app.test() as t:
        for last in ((b"\xe0", b""), (b"\x82", b""), None):
            peer = await t.connect("broker")
            await peer.send((b"\x10", CONNECT[2:]))
            assert (b"\x20", b"\0\0") == await peer.receive()
            assert (b"\x90", b"\0\1\1") == await peer.request(subscribe)
            assert [(b"a/+", 1)] == list(mqtt.filters)
            assert (b"\xb0", b"\0\2") == await peer.request((b"\xa2", b"\0\2\0\3a/+"))
            assert [] == list(mqtt.filters)
            assert (b"\x90", b"\0\1\1") == await peer.request(subscribe)
            if last is None:
                peer.abort()
            else:
                await peer.send(last)
            async with asyncio.timeout(PATIENCE_S):
                while mqtt.filters:
                    await asyncio.sleep(0)


def test_what_is_retained_is_bounded(monkeypatch):
    """By number and by size; another message of a topic takes the place of the one before, an empty one frees it."""
    monkeypatch.setattr(mqtt, "retained", {})
    monkeypatch.setattr(mqtt, "MOST_RETAINED", 2)
    for topic in (b"a", b"b", b"c", b"a"):
        mqtt.publish(topic, b"kept", 1)
    assert {b"a": (b"kept", 0), b"b": (b"kept", 0)} == mqtt.retained
    mqtt.publish(b"a", bytes(mqtt.MAX_RETAINED + 1), 1)
    mqtt.publish(b"b", b"", 1)
    mqtt.publish(b"c", bytes(mqtt.MAX_RETAINED), 3)

    assert {b"c": (bytes(mqtt.MAX_RETAINED), 1)} == mqtt.retained


@pytest.mark.parametrize(
    "wire", [b"GET / HTTP/1.1\r\n\r\n", b"\xc0\0", b"\x10\0", b"\x10\x04\0\x09MQ", b"\x10\x0d\0\4MQTT\3\2\0<\0\1c"]
)
def test_what_is_no_session_is_refused(served, wire):
    """Another protocol, another version, a packet that ends too early."""

    assert served.replies(wire) in (b"", b"\x20\2\0\1")
