"""Bytes that are meant to cost more than they are worth: T-10, T-35, T-39."""

import json
import struct

import pytest

import penstock
from penstock.config import Timeouts

KIB = 1024
MIB = 1024**2


# What is cut for its bytes is not lingered for: that is the matter of other tests, and takes two seconds.
AT_ONCE = Timeouts(linger_s=0.0, drain_s=10.0)


def served(codec):
    return penstock.on_message(codec=codec)(lambda message: message)


def pour(sock, data, times):
    """Send data over and over until the server ends it; return how many bytes went."""
    sent = 0
    try:
        for _ in range(times):
            sock.sendall(data)
            sent += len(data)
    except ConnectionError:
        pass
    return sent


def test_an_endless_line_is_cut_at_the_limit(serve, opened, tools, until, engine, figure):
    """Unterminated input is measured while it comes: memory stays flat whatever is poured in."""
    with serve(served("lines:max=64KiB")) as server:
        sock = server.dial()
        opened.append(sock)
        assert b"ping\n" == tools.ask(sock)
        memory = tools.resident_bytes()
        sent = pour(sock, b"x" * MIB, 32)
        memory = tools.resident_bytes() - memory
        sock.close()
        reasons = server.reasons(1)
    figure(
        f"T-05 {engine.label}: a line without end: {sent / MIB:.0f} MiB poured, {memory / MIB:.1f} MiB more resident"
    )

    assert ["frame_too_large"] == reasons
    assert 16 * MIB > memory


BOMBS = {
    "length-prefixed:size=4": [struct.pack(">I", 2**31), struct.pack(">I", 2**32 - 1), b"\x80\x00\x00\x00"],
    "length-prefixed:size=8": [struct.pack(">Q", 2**63), struct.pack(">Q", 2**64 - 1)],
    "length-prefixed:size=2,byteorder=little,max=1KiB": [b"\xff\xff"],
    "varint": [b"\xff" * 9 + b"\x01", b"\x80" * 11, b"\xff\xff\xff\xff\x0f"],
    "netstring": [b"99999999999:", b"-1:", b"007:", b"4294967296:"],
    "resp": [b"$2147483648\r\n", b"*2147483647\r\n", b"$-2\r\n", b"*9223372036854775808\r\n"],
    "msgpack": [b"\xc6\xff\xff\xff\xff", b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff"],
}


@pytest.mark.parametrize("codec", sorted(BOMBS))
def test_a_length_bomb_costs_a_header(serve, opened, tools, codec, engine, figure):
    """Nothing is allocated by an announced length: what is held grows with the bytes that come (CVE-2026-45416)."""
    bombs = BOMBS[codec] * 20
    with serve(served(codec), timeouts=AT_ONCE) as server:
        memory = tools.resident_bytes()
        for bomb in bombs:
            sock = server.dial()
            opened.append(sock)
            sock.sendall(bomb + b"x")
        if codec == "msgpack":  # its length is known to be impossible only at the frame's own limit
            server.wait_until(lambda it: it.stats.accepted == len(bombs))
        else:
            reasons = server.reasons(len(bombs))
        memory = tools.resident_bytes() - memory
        for sock in opened:
            sock.close()
        reasons = server.reasons(len(bombs))
    figure(f"T-10 {engine.label} {codec}: {len(bombs)} bombs, {max(0, memory) / len(bombs) / KIB:.1f} KiB each")

    assert {"frame_too_large", "bad_length", "bad_frame", "truncated", "bad_payload"} >= set(reasons)
    assert 64 * KIB * len(bombs) > memory


@pytest.mark.parametrize(
    ("codec", "bomb"),
    [
        ("json-lines", b"[" * 30_000 + b"]" * 30_000 + b"\n"),
        ("json-lines", b'{"a":' * 10_000 + b"1" + b"}" * 10_000 + b"\n"),
        ("json-lines:max=1MiB", b"[" * 100_000 + b"]" * 100_000 + b"\n"),
        ("msgpack", b"\x91" * 100_000 + b"\xc0"),
        ("resp", b"*1\r\n" * 10_000 + b":1\r\n"),
    ],
    ids=["json-array", "json-object", "json-100000", "msgpack", "resp"],
)
def test_deep_nesting_ends_one_connection(serve, opened, tools, codec, bomb, engine, figure):
    """T-39: a stack of any depth fits in a small frame; the next peer is served."""
    with serve(served(codec), timeouts=AT_ONCE) as server:
        attacker, honest = server.dial(), server.dial()
        opened.extend([attacker, honest])
        pour(attacker, bomb, 1)
        (reason,) = server.reasons(1)
        message = server.server.service.codec.encode([1, 2] if codec != "resp" else [b"a", b"b"])
        answer = tools.ask(honest, message)
    figure(f"T-39 {engine.label} {codec}: {len(bomb)} bytes of nesting: {reason}")

    assert reason in {"bad_payload", "bad_frame", "frame_too_large"}
    assert message == answer


def test_one_byte_a_segment_gives_what_one_segment_gives(serve, opened, engine, figure):
    """T-04: 64 KiB in as many sends: the same line, in time that grows with the bytes and not with their square."""
    line = json.dumps(list(range(6_000))).encode()[:32_000] + b"\n"
    with serve(served("lines:max=64KiB")) as server:
        sock = server.dial()
        opened.append(sock)
        for index in range(len(line)):
            sock.send(line[index : index + 1])
        received = b""
        while len(received) < len(line):
            received += sock.recv(65536)
    figure(f"T-04 {engine.label}: a line of {len(line)} bytes in {len(line)} segments came back whole")

    assert line == received


@pytest.mark.parametrize(("codec", "empty", "last"), [("lines", b"\n", b"x\n"), ("netstring", b"0:,", b"1:x,")])
def test_a_million_empty_frames_are_messages_and_hold_nobody_up(
    serve, opened, tools, codec, empty, last, engine, figure
):
    """They are legal: each is one message, and between them another connection has its turn."""
    count = 0

    def react(message):
        nonlocal count
        count += not message
        return message or None

    with serve(penstock.on_message(codec=codec)(react)) as server:
        flood, other = server.dial(), server.dial()
        opened += [flood, other]
        flood.sendall(empty * 500_000)
        other.sendall(last)
        answer = other.recv(100)
        meanwhile = count
        flood.sendall(empty * 500_000 + last)
        end = flood.recv(100)
    figure(f"T-05 {engine.label} {codec}: a million empty frames, another's turn after {meanwhile} of the first half")

    assert (last, last, 1_000_000) == (answer, end, count)
