"""T-42: whoever speaks another protocol is answered or closed, for a reason, and the next peer is served."""

import pytest

import penstock
from penstock.config import Timeouts
from penstock.testing.clock import ManualClock
from penstock.testing.peers import read_to_end

CODECS = ["lines", "length-prefixed", "varint", "netstring", "json-lines", "msgpack", "resp", "fixed:size=16"]
# What a client of each says first, and then waits for an answer.
FOREIGN = {
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "http2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000"),
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)) * 2,
    "ssh": b"SSH-2.0-OpenSSH_9.6\r\n",
    "smtp": b"EHLO x\r\n",
    "rdp": b"\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01\x00\x08\x00\x03\x00\x00\x00",
    "smb": b"\x00\x00\x00\x2f\xffSMBr\x00\x00\x00\x00\x18\x01\x28" + bytes(21) + b"\x00\x0c\x00\x02NT LM 0.12\x00",
    "mqtt": b"\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04test",
    "redis": b"*1\r\n$4\r\nPING\r\n",
    "memcached": b"set k 0 0 5\r\nhello\r\nget k\r\n",
    "postgresql": b"\x00\x00\x00\x08\x04\xd2\x16\x2f" + b"\x00\x00\x00\x14\x00\x03\x00\x00user\x00postgres\x00\x00",
    "mysql": b"\x20\x00\x00\x01\x85\xa6\x3f\x20\x00\x00\x00\x01\x21" + bytes(23),
    "socks4": b"\x04\x01\x00\x50\x7f\x00\x00\x01x\x00",
    "socks5": b"\x05\x02\x00\x02",
    "proxy": b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n",
    "proxy2": b"\r\n\r\n\x00\r\nQUIT\n!\x11\x00\x0c" + bytes(12),
    "zeros": bytes(512),
    "ones": b"\xff" * 512,
    "newlines": b"\n" * 512,
}
# Of framing, and of having said all there was to say.
FOREIGN_ENDS = {"looks_like_tls", "looks_like_http", "looks_like_proxy"}
BAD_ENDS = {"truncated", "frame_too_large", "bad_length", "bad_frame", "bad_encoding", "bad_payload"}
ENDS = {"peer_closed"} | BAD_ENDS | FOREIGN_ENDS
WAITS = {"first_message_timeout", "message_timeout", "idle_timeout"}


@pytest.fixture
def echo_of():
    """A function that makes an echo of a codec, with a message of its own and the bytes of it."""

    def make(codec):
        service = penstock.on_message(codec=codec)(lambda message: message)
        if codec == "resp":
            return service, service.codec.encode([b"a"])
        return service, service.codec.encode([1] if codec in {"json-lines", "msgpack"} else b"0123456789abcdef")

    return make


@pytest.mark.parametrize("codec", CODECS)
def test_a_foreign_greeting_ends_in_one_reason(serve, opened, tools, echo_of, codec, engine, figure):
    """Whoever greets and then ends its direction gets no more back than it said; the next one is served."""
    service, greeting_of_ours = echo_of(codec)
    longest = 0
    with serve(service, timeouts=Timeouts(linger_s=0.0, drain_s=10.0)) as server:
        honest = server.dial()
        opened.append(honest)
        for number, greeting in enumerate(FOREIGN.values(), 1):
            sock = server.dial()
            opened.append(sock)
            received = greet(sock, greeting)
            server.wait_closed(number)
            assert greeting_of_ours == tools.ask(honest, greeting_of_ours)
            longest = max(longest, len(received) - len(greeting))
        reasons = server.reasons(len(FOREIGN))
        held = server.call(lambda: sum(conn.held_bytes for conn in server.server.connections))
    named = ", ".join(f"{reason} {reasons.count(reason)}" for reason in sorted(set(reasons)))
    figure(f"T-42 {engine.label} {codec}: {len(FOREIGN)} foreign greetings: {named}")

    assert len(FOREIGN) == len(reasons)
    assert ENDS >= set(reasons)
    assert 0 >= longest
    assert 0 == held


def greet(sock, greeting):
    """Say it, end our direction, and read what comes back; a reset may be faster than any of it."""
    try:
        sock.sendall(greeting)
        sock.shutdown(1)
        return read_to_end(sock)
    except OSError:
        return b""


@pytest.mark.parametrize("codec", CODECS)
def test_who_greets_and_waits_for_an_answer_is_gone_in_time(
    serve, opened, tools, until, echo_of, codec, engine, figure
):
    """Where its bytes may yet become a message, the deadlines say when they will not: all are gone by the idle one."""
    service, greeting_of_ours = echo_of(codec)
    clock = ManualClock()
    with serve(service, clock=clock, timeouts=Timeouts(linger_s=0.0, drain_s=10.0)) as server:
        for greeting in FOREIGN.values():
            opened.append(server.dial())
            opened[-1].sendall(greeting)
        wait_until_read(until, server, sum(map(len, FOREIGN.values())))
        held = server.call(lambda: sum(conn.held_bytes for conn in server.server.connections))
        for seconds in (10.0, 20.0, 270.0):
            server.call(lambda seconds=seconds: clock.advance(seconds))
        wait_until_ended(until, server, clock)
        reasons = server.reasons(len(FOREIGN))
        honest = server.dial()
        opened.append(honest)
        answer = tools.ask(honest, greeting_of_ours)
    named = ", ".join(f"{reason} {reasons.count(reason)}" for reason in sorted(set(reasons)))
    figure(f"T-42 {engine.label} {codec}: {len(FOREIGN)} greet and wait: {held} bytes held for all, then {named}")

    assert ENDS | WAITS >= set(reasons)
    assert sum(map(len, FOREIGN.values())) >= held
    assert greeting_of_ours == answer


def wait_until_read(until, server, size):
    """Wait until the server has read so many bytes, of those who are there and of those who were ended."""

    def read():
        ended = sum(event.bytes_in for event in server.record.of(penstock.EventName.CLOSED))
        return ended + sum(conn.bytes_in for conn in server.server.connections)

    until(server, lambda _: read() == size)


def wait_until_ended(until, server, clock):
    """A thread that begins to wait after the clock was moved has all of its time to wait still."""

    def ended(it):
        clock.advance(300.0)
        return it.stats.closed.total() == len(FOREIGN)

    until(server, ended)
