"""The syslog collector, by logger in every mode; counted and ended messages in one stream, cut anywhere."""

import json
import time

import pytest
import syslogd
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.errors import RemoteProtocolError
from penstock.testing import check_codec

PATIENCE_S = 20


@pytest.fixture(scope="module")
def served(start, reserve_for_module):
    port = reserve_for_module()  # one for UDP and TCP
    binds = (f"udp://127.0.0.1:{port}", f"tcp://127.0.0.1:{port}", "unix+dgram:dgram.sock", "unix:stream.sock")
    example = start("syslogd.py:syslogd", *(word for bind in binds for word in ("--bind", bind)))
    example.port = port
    return example


def printed(served, text):
    """The record of a message, waited for."""
    give_up = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up:
        for line in served.printed.read_text().splitlines():
            record = json.loads(line)
            if record["message"] == text:
                return record
        time.sleep(0.01)  # a file tells nobody that it has grown
    raise AssertionError(served.said)


@pytest.mark.outside
@pytest.mark.parametrize("form", ["--rfc3164", "--rfc5424", "--rfc5424=notime,notq,nohost"])
@pytest.mark.parametrize("transport", [("--udp",), ("--tcp",), ("--tcp", "--octet-count"), ("--udp", "--octet-count")])
def test_logger_over_the_network(served, program, form, transport):
    """Both formats over UDP, over TCP with LF, and over TCP counted; a datagram may be counted, too."""
    text = f"fuse {form} {' '.join(transport)}"
    server = ("--server", "127.0.0.1", "--port", str(served.port))
    program("logger", *server, *transport, form, "-p", "local3.warning", "-t", "box", "-i", "--", text)
    record = printed(served, text)

    names = ("facility", "severity", "app", "message")
    assert ("local3", "warning", "box", text) == tuple(record[each] for each in names)


@pytest.mark.outside
@pytest.mark.parametrize("name", ["dgram.sock", "stream.sock"])
def test_logger_on_a_unix_socket(served, program, name):
    """As programs of this machine write: without a host."""
    program("logger", "-u", str(served.directory / name), "-p", "user.info", "-t", "box", "--", f"here {name}")
    record = printed(served, f"here {name}")

    names = ("facility", "severity", "app", "message")
    assert ("user", "info", "box", f"here {name}") == tuple(record[each] for each in names)
    assert "host" not in record


@pytest.mark.outside
def test_logger_with_structured_data(served, program):
    """RFC 5424 section 6.3, with a quote in a value."""
    server = ("--server", "127.0.0.1", "--port", str(served.port), "--tcp", "--rfc5424")
    data = ("--sd-id", "zoo@123", "--sd-param", 'tiger="hungry"', "--msgid", "ID47")
    program("logger", *server, *data, "--", "structured")
    record = printed(served, "structured")

    assert ("ID47", True) == (record["id"], '[zoo@123 tiger="hungry"]' in record["data"])


WIRE = b"<13>1 - - - - - - one\n23 <13>1 - - - - - - tw\no\n<0>three\0<13>Feb  3 04:05:06 box app[7]: four\n"
MESSAGES = [
    b"<13>1 - - - - - - one",
    b"<13>1 - - - - - - tw\no\n",
    b"<0>three",
    b"<13>Feb  3 04:05:06 box app[7]: four",
]


def test_the_codec_obeys_every_law():
    """Messages of both kinds, cut anywhere; what is neither is refused."""
    wires = [WIRE, b"<13>no end", b"99999 <", b"100000 <1>", b"0 <1>", b"12", b"hello\n", b"\n<13>x\n", b"<13>x" * 20]
    check_codec(syslogd.Syslog(), [b"<13>hello", b"a\nb"], wires)


@given(cuts=st.lists(st.integers(1, 12), max_size=30))
@settings(max_examples=15)
def test_where_the_network_cuts_the_bytes_does_not_matter(served, cuts):
    """Four messages in a stream, two of each kind."""
    before = len(served.printed.read_text().splitlines())
    assert b"" == served.replies(WIRE, cuts)  # after all of them were handled
    records = [json.loads(line) for line in served.printed.read_text().splitlines()[before:]]

    assert ["one", "tw\no", "three", "four"] == [record["message"] for record in records]
    assert ("user", "notice", "Feb  3 04:05:06", "box", "app", "7") == tuple(
        records[3][name] for name in ("facility", "severity", "time", "host", "app", "pid")
    )


@given(st.binary(max_size=200) | st.binary(max_size=100).map(b"<13>1 ".__add__))
def test_any_message_is_read_or_refused(message):
    """Whatever follows the priority is a message."""
    try:
        record = syslogd.parse(message)
    except RemoteProtocolError:
        return

    assert {"facility", "severity"} <= record.keys()
