"""Law 3: after a bad frame the messages before it are answered, and nothing after it is looked at."""

import itertools

import pytest

from penstock.core.events import EventName
from penstock.testing.peers import read_exactly, read_to_end

# Codec, a good frame, a bad one, the reason.
CASES = {
    "long line": ("lines:max=16", b"good\n", b"x" * 17 + b"\n", "frame_too_large"),
    "endless line": ("lines:max=16", b"good\n", b"x" * 18, "frame_too_large"),
    "long frame": ("length-prefixed:max=16", b"\0\0\0\x04good", b"\xff\xff\xff\xff", "frame_too_large"),
    "no number": ("netstring", b"4:good,", b"x:", "bad_length"),
    "leading zero": ("netstring", b"4:good,", b"04:good,", "bad_length"),
    "no comma": ("netstring", b"4:good,", b"4:good;", "bad_frame"),
    "endless varint": ("varint", b"\x04good", b"\xff" * 11, "bad_length"),
    "bad JSON": ("json-lines", b'"good"\n', b"{]\n", "bad_payload"),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.forms(lambda form: form.label in ("def-message", "async-message", "async-connection", "def-connection"))
def test_good_frames_before_a_bad_one_are_answered(serve, form, case):
    """All of the good ones, whatever their number, then EOF; the good ones after it are not seen by the handler."""
    codec, frame, bad, reason = CASES[case]
    seen = []

    def react(_conn, message):
        seen.append(message)
        return message

    with serve(react, codec=codec) as server:
        for count, (good, together) in enumerate(itertools.product((0, 1, 3, 300), (True, False)), 1):
            seen.clear()
            with server.dial() as peer:
                early = b""
                if together:
                    peer.sendall(frame * good + bad + frame * 3)
                else:
                    peer.sendall(frame * good)
                    early = read_exactly(peer, len(frame) * good)
                    peer.sendall(bad + frame * 3)
                answer = early + read_to_end(peer)

            assert (frame * good, good, reason) == (answer, len(seen), server.reasons(count)[-1])
            assert count == len(server.record.of(EventName.PROTOCOL_ERROR))
