"""Daytime (RFC 867)."""

import calendar
import re
import time

from penstock.services.daytime import line

NOON = 1_795_259_213.0


def test_the_line_is_the_rfcs_first_example():
    """Weekday, Month Day, Year Time-Zone."""
    moment = time.struct_time((1982, 2, 22, 17, 37, 43, 0, 53, 0), {"tm_zone": "PST"})

    assert b"Monday, February 22, 1982 17:37:43-PST\r\n" == line(moment)


def test_every_day_of_a_year_is_written_in_english():
    """Whatever language the machine speaks."""
    for day in range(366):
        moment = time.gmtime(calendar.timegm((2024, 1, 1, 0, 0, 0)) + day * 86400)

        assert re.fullmatch(rb"[A-Z][a-z]+day, [A-Z][a-z]+ \d\d?, 2024 00:00:00-[A-Z]+\r\n", line(moment))


def test_connections(run, connection, model):
    """One line on connect, then the end; nobody has to say anything."""
    with run("daytime", connection, model=model, clock=lambda: NOON) as server:
        for _ in range(3):
            with server.peer() as peer:
                assert line(time.localtime(NOON)) == peer.hear_to_end()


def test_what_the_client_says_is_thrown_away(run, stream):
    """Unread input does not cost the client the line."""
    with run("daytime", stream, clock=lambda: NOON) as server, server.peer() as peer:
        peer.say(b"x" * 100_000)

        assert line(time.localtime(NOON)) == peer.hear_to_end()


def test_datagrams(run, datagram, model):
    """Any datagram is answered, the empty one too."""
    with run("daytime", datagram, model=model, clock=lambda: NOON) as server, server.peer() as peer:
        for payload in (b"", b"what time is it?"):
            peer.sock.send(payload)
            assert line(time.localtime(NOON)) == peer.hear()
