"""T-02: messages of boundary sizes, for each codec, through a real server on TCP and Unix sockets."""

import socket

import pytest

from penstock.codecs import parse_codec
from penstock.testing.peers import read_to_end

CAP = 70_000
SIZES = [0, 1, 125, 126, 127, 128, 65_535, 65_536, CAP - 1, CAP]

# Spec, how a message of so many bytes of payload is made, and whether an empty one exists. What the payload is to a
# codec of objects is its encoded frame, without the newline.
CODECS = {
    "raw": (f"raw:max={CAP}", lambda size: b"x" * size),
    "lines": (f"lines:max={CAP}", lambda size: b"x" * size),
    "delimited": (rf"delimited:delimiter=\r\n\r\n,max={CAP}", lambda size: b"x" * size),
    "length-prefixed": (f"length-prefixed:max={CAP}", lambda size: b"x" * size),
    "length-prefixed-8-little": (f"length-prefixed:size=8,byteorder=little,max={CAP}", lambda size: b"x" * size),
    "varint": (f"varint:max={CAP}", lambda size: b"x" * size),
    "netstring": (f"netstring:max={CAP}", lambda size: b"x" * size),
    "json-lines": (f"json-lines:max={CAP}", lambda size: "x" * (size - 2)),
    "msgpack": (f"msgpack:max={CAP}", lambda size: b"x" * _msgpack_payload(size)),
}


def _msgpack_payload(size):
    """So many bytes of payload that the frame, header included, has ``size``; the nearest below where none does."""
    for header, most in ((2, 0xFF), (3, 0xFFFF), (5, 0xFFFFFFFF)):
        if 0 <= size - header <= most:
            return size - header
    return 0


def sizes_of(name):
    smallest = {"raw": 1, "json-lines": 2, "msgpack": 2}.get(name, 0)
    return [size for size in SIZES if size >= smallest]


@pytest.mark.parametrize("transport", ["tcp", "unix"])
@pytest.mark.parametrize("name", CODECS)
@pytest.mark.forms(lambda form: form.label in ("def-message", "async-message", "async-connection", "def-connection"))
def test_sizes_at_the_boundaries(serve, form, tmp_path, tally, name, transport):
    """Up to the cap each message comes back the same; one byte more closes, and the message before it is answered."""
    spec, make = CODECS[name]
    codec = parse_codec(spec)
    # Frames over the cap are made by the same codec without one.
    wide = parse_codec(spec.replace(f"max={CAP}", "max=1MiB"))
    bind = "tcp://127.0.0.1:0" if transport == "tcp" else f"unix://{tmp_path}/s"
    cases = 0
    with serve(lambda _conn, message: message, codec=codec, bind=bind) as server:
        for size in sizes_of(name):
            frame = codec.encode(make(size))
            with server.dial() as peer:
                peer.sendall(frame * 2)
                peer.shutdown(socket.SHUT_WR)

                assert frame * 2 == read_to_end(peer), size
            cases += 1
        if name != "raw":  # which has no frame that could be too long
            small = codec.encode(make(2))
            with server.dial() as peer:
                peer.sendall(small + wide.encode(make(CAP + 1)))
                peer.shutdown(socket.SHUT_WR)

                assert small == read_to_end(peer)
            cases += 1
        # Sorted: each connection may end on a thread of its own.
        expected = ["frame_too_large"] * (cases - len(sizes_of(name))) + ["peer_closed"] * len(sizes_of(name))
        assert expected == sorted(server.reasons(cases))
    tally("T-02 messages of boundary sizes, every codec on tcp and unix, on every engine", cases)
