"""The compiled framings beside the codecs they stand for: the codec is the oracle."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.codecs.base import NEED_DATA, Buffer
from penstock.codecs.registry import parse_codec
from penstock.engines.native.framing import cut_all

SPECS = (
    "lines",
    "lines:max=7",
    "lines:max=7,newline=crlf",
    "lines:max=7,keep-cr=yes",
    "raw:max=5",
    "fixed:size=3",
    "delimited:delimiter=ab",
    "delimited:delimiter=\\r\\n,max=6",
    "length-prefixed:size=1",
    "length-prefixed:size=2,byteorder=little,max=9",
    "length-prefixed:size=3,offset=1,adjustment=-4,header=keep,max=9",
    "length-prefixed:size=8,adjustment=2,max=9",
)

# Bytes that mean something to one of them come up often.
octets = st.one_of(
    st.binary(max_size=60),
    st.lists(st.sampled_from([b"\r", b"\n", b"a", b"b", b"ab", b"\0", b"\1", b"\3", b"\xff"]), max_size=60).map(
        b"".join
    ),
)


def by_codec(codec, pieces):
    """Do what `cut_all` does, with the codec itself."""
    buffer = Buffer()
    messages = []
    for piece in pieces:
        buffer += piece
        try:
            while (message := codec.decode(buffer)) is not NEED_DATA:
                messages.append(message)
        except Exception as error:
            return messages, error, bytes(buffer)
    return messages, None, bytes(buffer)


def seen(result):
    messages, error, rest = result
    return messages, type(error), str(error), rest


@pytest.mark.parametrize("spec", SPECS)
@given(stream=octets, cuts=st.lists(st.integers(0, 60), max_size=8))
def test_a_framing_cuts_as_its_codec_does(spec, stream, cuts):
    """Same messages, same refusal, same rest, whatever the bytes and however they were cut."""
    codec = parse_codec(spec)
    edges = sorted({0, len(stream), *(min(cut, len(stream)) for cut in cuts)})
    pieces = [stream[start:end] for start, end in itertools.pairwise(edges)]

    assert seen(by_codec(codec, pieces)) == seen(cut_all(codec, pieces))


def test_a_codec_without_a_framing_is_named():
    """Its messages are cut by the codec itself."""
    with pytest.raises(LookupError, match="json-lines"):
        cut_all(parse_codec("json-lines"), [])
