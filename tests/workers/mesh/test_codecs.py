"""What the workers know codecs by: equal texts mean equal frames."""

import pytest

from penstock.codecs.base import NEED_DATA, Codec
from penstock.codecs.lines import Lines
from penstock.codecs.registry import parse_codec
from penstock.core.handover.codecs import tells_all, text_of
from penstock.workers.mesh.codecs import KnownCodecs


class Sized(Codec):
    """A codec that does not show its option."""

    def __init__(self, size):
        self._size = size

    def decode(self, buffer):
        return NEED_DATA

    def encode(self, message):
        return bytes(self._size)


class Failing(Sized):
    """One whose option cannot be read."""

    @property
    def size(self):
        raise RuntimeError


@pytest.mark.parametrize(
    "name", ["lines", "raw", "netstring", "length-prefixed", "varint", "json-lines", "json", "text", "msgpack", "resp"]
)
def test_the_codecs_that_come_along_say_all_of_themselves(name):
    """So one that is set by name is known in every worker."""
    assert tells_all(parse_codec(name))


def test_codecs_that_do_not_say_all_are_known_by_their_service():
    """Two of one text frame differently; each is the same in every worker."""
    four, eight = Sized(4), Sized(8)
    here = KnownCodecs({"a": four, "b": eight, "c": four}, 1)
    there = KnownCodecs({"a": Sized(4), "b": Sized(8)}, 2)
    texts = [here.text(each) for each in (four, eight)]

    assert 2 == len(set(texts))
    assert [4, 8] == [there.by_text(text)._size for text in texts]


def test_one_of_no_service_that_does_not_say_all_is_known_to_no_other_worker():
    """Not even to another connection here: nothing says that they frame alike."""
    known = KnownCodecs({}, 1)
    codecs = [Sized(4), Sized(4), Failing(4)]
    texts = [known.text(codec) for codec in codecs]

    assert 3 == len(set(texts))
    assert texts == [known.text(codec) for codec in codecs]
    assert [None] * 3 == list(map(known.by_text, texts))


def test_one_that_says_all_is_known_by_its_text():
    """Whichever worker or service has it."""
    lines = Lines(newline="crlf")
    known = KnownCodecs({"a": Lines()}, 1)

    assert text_of(lines) == known.text(lines)
    assert lines is known.by_text(text_of(Lines(newline="crlf")))


def test_codecs_of_connections_that_are_gone_are_forgotten():
    """However many connections have had one of their own."""
    known = KnownCodecs({}, 1)
    for _ in range(1000):
        known.text(Sized(4))

    assert 256 == len(known._texts)
