"""What the ends of the two streams mean to a TLS layer."""

from hypothesis import example, given
from hypothesis import strategies as st

from penstock.core.law.tls import (
    CUT,
    END_OUTPUT,
    FAIL,
    MOST_BARREN_BYTES,
    NOTHING,
    NOTIFY,
    TELL_EOF,
    Secrecy,
    tells_tls,
)
from penstock.reasons import CloseReason


def opened():
    law = Secrecy()
    law.hears(b"\x16\x03\x01")
    law.is_done()
    return law


def test_only_close_notify_is_the_end_of_what_a_peer_says():
    """EOF of the transport after it says nothing new; before it, the stream was cut."""
    law = opened()
    assert (TELL_EOF, NOTHING, NOTHING) == (law.is_notified(), law.is_notified(), law.reaches_eof())
    cut = opened()
    assert (CUT, NOTHING, NOTHING) == (cut.reaches_eof(), cut.reaches_eof(), cut.is_notified())


def test_close_notify_is_sent_once():
    """By whichever of half-close and close comes first."""
    law = opened()

    assert (NOTIFY | END_OUTPUT, END_OUTPUT) == (law.ends_output(), law.ends_output())
    assert not law.may_send
    assert law.may_read


def test_an_end_in_the_handshake_waits_for_it():
    """What is to be sent before it has to be enciphered first."""
    law = Secrecy()
    assert NOTHING == law.ends_output()
    law.is_done()

    assert NOTIFY | END_OUTPUT == law.goes_on()


def test_a_peer_that_leaves_in_the_handshake_has_failed_it_if_it_had_begun():
    """One that only looks whether anybody is there has done nothing wrong."""
    looked, begun = Secrecy(), Secrecy()
    begun.hears(b"\x16\x03")

    assert (FAIL | TELL_EOF, FAIL | TELL_EOF) == (looked.reaches_eof(), begun.reaches_eof())
    assert (CloseReason.PEER_CLOSED, CloseReason.TLS_HANDSHAKE) == (looked.reason, begun.reason)


def test_after_a_handshake_that_failed_nothing_is_enciphered():
    """The first reason stays; what is left is the transport's own end."""
    law = Secrecy()
    law.fails(CloseReason.NOT_TLS)
    law.fails(CloseReason.TLS_HANDSHAKE)

    assert CloseReason.NOT_TLS == law.reason
    assert (END_OUTPUT, TELL_EOF) == (law.ends_output(), law.reaches_eof())
    assert (False, False) == (law.may_send, law.may_read)


def test_nothing_is_done_once_the_transport_is_gone():
    """Whatever is asked for."""
    law = opened()
    law.is_over()

    assert (NOTHING, NOTHING, NOTHING) == (law.ends_output(), law.reaches_eof(), law.is_notified())


def test_twelve_foreign_greetings_are_told_from_tls():
    """T-42: what other protocols begin with; and a record of TLS, cut anywhere."""
    foreign = [
        b"GET / HTTP/1.1\r\n", b"POST / HTTP/1.1\r\n", b"PRI * HTTP/2.0\r\n", b"SSH-2.0-x\r\n", b"EHLO x\r\n",
        b"*1\r\n$4\r\nPING\r\n", b"\x00\x00\x00\x08\x04\xd2\x16\x2f", b"PROXY TCP4 ", b"\r\n\r\n\x00\r\nQUIT\n",
        b"\x10\x0f\x00\x04MQTT", b"AMQP\x00\x00\x09\x01", b"hello\n",
    ]  # fmt: skip

    assert [False] * 12 == [tells_tls(data) for data in foreign]
    assert [None, None, True, True] == [tells_tls(b"\x16\x03\x01\x02\x00"[:size]) for size in (0, 1, 2, 5)]


@given(data=st.binary(min_size=1, max_size=6), at=st.integers(1, 6))
@example(data=b"\x16A", at=1)
@example(data=b"\x15\x03", at=1)
def test_where_the_first_bytes_are_cut_does_not_matter(data, at):
    """A lone first byte that TLS begins with, too, decides nothing."""
    whole, cut = Secrecy(), Secrecy()

    assert whole.hears(data) == all(cut.hears(part) for part in (data[:at], data[at:]) if part)


@given(reads=st.lists(st.tuples(st.integers(1, 20_000), st.booleans())))
def test_work_for_nothing_has_an_end(reads):
    """A record as long as can be brings nothing before its end; several of them in a row would bring something."""
    law, barren = opened(), 0
    for size, brings_something in reads:
        barren = 0 if brings_something else barren + size

        assert (barren > MOST_BARREN_BYTES) == law.goes_too_far(size, brings_something=brings_something)
    assert MOST_BARREN_BYTES > 2 * 16_645
