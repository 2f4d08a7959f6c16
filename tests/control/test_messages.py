"""What is read off a control socket: a request, or a refusal that names what is wrong."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.codecs import NEED_DATA
from penstock.codecs.base import Buffer
from penstock.control.messages import (
    Answer,
    AnyRequest,
    Connections,
    Kick,
    Limits,
    LogLevel,
    Scale,
    Status,
    Stop,
    answer_codec,
    request_codec,
)
from penstock.errors import RemoteProtocolError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
WORDS = st.sampled_from(["status", "connections", "kick", "drain", "limits", "log-level", "scale", "do", "id", "ids"])
NEARLY = st.dictionaries(WORDS | st.sampled_from(["peer", "set", "level", "workers", "all"]), JSON | WORDS, max_size=5)


def read(codec, line):
    """Return what a line is read as; None where it is refused."""
    buffer = Buffer(line)
    try:
        found = codec.decode(buffer)
    except RemoteProtocolError:
        return None
    assert found is not NEED_DATA
    assert not buffer
    return found


@given(line=st.binary(max_size=200).map(lambda data: data.replace(b"\n", b"")))
def test_any_bytes_are_a_request_or_refused(line):
    """Nothing else comes of them."""
    found = read(request_codec(), line + b"\n")

    assert found is None or isinstance(found, AnyRequest)


@given(value=NEARLY | JSON)
def test_what_is_nearly_a_request_is_one_or_refused(value):
    """What is taken has the fields that were written, and no others."""
    found = read(request_codec(), json.dumps(value).encode() + b"\n")
    if found is None:
        return

    assert isinstance(value, dict)
    assert {"do", *value} == {"do", *(name for name in (*found.__struct_fields__, "do") if name in value)}


@pytest.mark.parametrize(
    "request_",
    [
        Status(id="a"),
        Connections(peer="192.0.2.0/24", sort="idle_s", descending=True, limit=5),
        Kick(ids=[1, 2], abort=True),
        Limits(set={"max_per_peer": "15"}, service="echo"),
        LogLevel(level="debug"),
        Scale(workers=2),
        Stop(id=7),
    ],
)
def test_a_request_is_read_as_it_was_written(request_):
    """By whoever writes it."""
    codec = request_codec()

    assert request_ == read(codec, codec.encode(request_))


def test_an_answer_says_nothing_that_goes_without_saying():
    """A line of rows has no result, the last one no rows."""
    codec = answer_codec()

    assert b'{"id":1,"more":true,"rows":[2]}\n' == codec.encode(Answer(1, more=True, rows=[2]))
    assert b'{"ok":true,"result":{"a":1}}\n' == codec.encode(Answer(ok=True, result={"a": 1}))
    assert Answer(ok=False, error="no") == read(codec, codec.encode(Answer(ok=False, error="no")))


def test_a_word_is_that_of_the_command_line():
    """``log-level``, not ``loglevel``."""
    assert "log-level" == msgspec.to_builtins(LogLevel())["do"]
