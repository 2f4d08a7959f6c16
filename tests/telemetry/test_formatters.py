"""The two formats: one event is one line, its fields can be read, and peers cannot forge one."""

import json
import logging
import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.telemetry import ConsoleFormatter, JsonFormatter, LogfmtFormatter


def record(message, *arguments, level=logging.INFO, exc_info=None, name="penstock", **extra):
    """Make a record as a logger does, at 2026-11-21 09:00:00.123 UTC."""
    made = logging.getLogger(name).makeRecord(name, level, "x.py", 1, message, arguments, exc_info, extra=extra)
    made.created, made.msecs = 1795251600.123, 123.0
    return made


def failure(message):
    """Return the exc_info of an exception that was really raised."""
    try:
        raise ValueError(message)
    except ValueError:
        return sys.exc_info()


def test_the_console_shows_time_level_message_and_fields():
    """``event`` is what programs read; people read the message."""
    line = ConsoleFormatter().format(
        record("closed: done", event="closed", peer="127.0.0.1:4", reason="done", bytes_in=6, duration_s=0.0123456789)
    )

    assert re.fullmatch(
        r"2026-11-2\d \d\d:00:00\.123 info closed: done "
        r"peer=127\.0\.0\.1:4 reason=done bytes_in=6 duration_s=0\.012",
        line,
    )


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("two words", 'x="two words"'),
        ("", 'x=""'),
        ('say "hi"', 'x="say \\"hi\\""'),
        (b"\x00\n", "x=\\x00\\x0a"),
        (bytearray(b"ab"), "x=ab"),
        ("line\nbreak", "x=line\\nbreak"),
        (True, "x=True"),
        ("y" * 300, 'x="' + "y" * 256 + '... (44 more characters)"'),
    ],
)
def test_the_console_shows_where_a_value_ends(value, shown):
    """A value with a space in it is quoted; a long one is cut."""

    assert ConsoleFormatter().format(record("m", x=value)).endswith(f"info m {shown}")


def test_the_console_leaves_out_what_is_none():
    """No value is no field."""

    assert ConsoleFormatter().format(record("m", peer=None)).endswith(" info m")


def test_a_traceback_on_the_console_is_indented():
    """So that no line of it, whatever the exception says, passes for an event."""
    error = failure("first\n2026-11-21 09:00:00.000 error forged\x1b[2J")
    first, *rest = ConsoleFormatter().format(record("failed", level=logging.ERROR, exc_info=error)).split("\n")

    assert first.endswith(" error failed")
    assert "    Traceback (most recent call last):" == rest[0]
    assert all(line.startswith("    ") for line in rest)
    assert "\x1b" not in "".join(rest)


def test_colour_is_only_in_the_level():
    """And only where it was asked for."""
    line = ConsoleFormatter(colour=True).format(record("m", level=logging.WARNING))

    assert line.endswith(" \x1b[33mwarning\x1b[0m m")
    assert "\x1b" not in ConsoleFormatter().format(record("m", level=logging.WARNING))


def test_json_has_the_fields_as_they_are():
    """Numbers stay numbers; the time is UTC; a message that repeats the event is left out."""
    line = JsonFormatter().format(
        record(
            "closed: %s",
            "done",
            name="penstock.access",
            event="closed",
            conn_id=7,
            peer="127.0.0.1:4",
            data=b"\xff",
            addresses=["tcp://127.0.0.1:1", b"\0"],
            duration_s=0.25,
            none=None,
        )
    )

    assert {
        "ts": "2026-11-21T09:00:00.123Z",
        "level": "info",
        "logger": "penstock.access",
        "event": "closed",
        "message": "closed: done",
        "conn_id": 7,
        "peer": "127.0.0.1:4",
        "data": "\\xff",
        "addresses": ["tcp://127.0.0.1:1", "\\x00"],
        "duration_s": 0.25,
    } == json.loads(line)
    assert "message" not in json.loads(JsonFormatter().format(record("ready", event="ready")))


def test_free_text_is_the_event_log():
    """The user's own records, and those of libraries, have no event."""
    line = json.loads(JsonFormatter().format(record("hello", name="mine")))

    assert ("log", "hello", "mine") == (line["event"], line["message"], line["logger"])


def test_a_field_cannot_replace_what_the_record_says():
    """It gets an underscore."""
    line = json.loads(JsonFormatter().format(record("m", level=logging.ERROR, ts="1970", logger="root")))

    assert ("error", "1970", "penstock", "root") == (line["level"], line["ts_"], line["logger"], line["logger_"])
    assert "2026-11-21T09:00:00.123Z" == line["ts"]


def test_an_exception_in_json_is_one_field():
    """With its traceback, and still one line."""
    line = JsonFormatter().format(record("failed", exc_info=failure("two\nlines")))

    assert "\n" not in line
    assert json.loads(line)["exception"].startswith("Traceback (most recent call last):\n")
    assert json.loads(line)["exception"].endswith("ValueError: two\nlines")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), ["list"], 10**400])
def test_whatever_a_field_holds_json_is_json(value):
    """There is no NaN in JSON."""

    assert "x" in json.loads(JsonFormatter().format(record("m", x=value)))


@given(st.text(), st.text() | st.binary() | st.integers() | st.floats() | st.none())
def test_one_event_is_one_line_in_both_formats(message, value):
    """Whatever a peer made the message and the field contain."""
    made = record("%s", message, peer=value)
    plain, structured = ConsoleFormatter().format(made), JsonFormatter().format(made)

    assert plain.isprintable()
    assert structured.isascii()
    assert structured.isprintable()
    assert isinstance(json.loads(structured), dict)


def test_logfmt_is_pairs_of_what_json_has():
    """Quoted where another reader would cut the value; a key is never anything but a word."""
    made = record(
        "closed",
        event="closed",
        peer="127.0.0.1:40000",
        detail='said "bye"',
        none="",
        path="a=b",
        cyrillic="д",
        addresses=["tcp://a:1", "unix:///s"],
        duration_s=0.12345,
        is_tls=False,
        **{"odd key=": 1},
    )
    line = LogfmtFormatter().format(made)

    assert (
        'level=info logger=penstock event=closed peer=127.0.0.1:40000 detail="said \\"bye\\"" none="" path="a=b" '
        'cyrillic="\\u0434" addresses=tcp://a:1,unix:///s duration_s=0.123 is_tls=false odd_key_=1'
    ) == line.partition(" ")[2]
    assert line.startswith("ts=")
    assert line.partition(" ")[0].endswith("Z")


def test_an_exception_in_logfmt_is_one_field():
    """Its lines are in it, escaped."""
    line = LogfmtFormatter().format(record("failed", exc_info=failure("two\nlines")))

    assert "\n" not in line
    assert line.endswith('ValueError: two\\nlines"')
