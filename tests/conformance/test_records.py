"""Unix seqpacket connections: each record is a message, and the laws of connections hold."""

import socket
import threading

import pytest

import penstock
from penstock.core.events import EventName


@pytest.fixture
def bind(tmp_path):
    return f"unix+seqpacket://{tmp_path}/s"


def records_to_end(peer):
    found = []
    while record := peer.recv(300_000):
        found.append(record)
    return found


def echo(_conn, message):
    return b"<" + message + b">"


def test_records_keep_apart_and_in_order(serve, form, bind):
    """However fast they come, and whatever bytes are in them; EOF ends the connection when all are answered."""
    sent = [b"one", b"two\nlines\n", b"\0" * 5000, b"x"] + [b"%d" % number for number in range(300)]
    answers = []
    with serve(echo, bind=bind) as server, server.dial() as peer:
        reader = threading.Thread(target=lambda: answers.extend(records_to_end(peer)))
        reader.start()
        for record in sent:
            peer.send(record)
        peer.shutdown(socket.SHUT_WR)
        reader.join()

        assert [b"<" + record + b">" for record in sent] == answers
        assert ["peer_closed"] == server.reasons(1)


def test_a_bad_record_closes(serve, form, bind):
    """Those before it are answered; it is not one message of the codec."""
    with serve(lambda _conn, message: message, codec="json-lines", bind=bind) as server:
        with server.dial() as peer:
            for record in (b"1", b"[2]", b"{]", b"3"):
                peer.send(record)

            assert [b"1", b"[2]"] == [record.rstrip() for record in records_to_end(peer)]
        assert ["bad_payload"] == server.reasons(1)


@pytest.mark.forms(lambda form: form.has_conn and not form.is_conversation)
def test_close_sends_what_was_posted_although_input_is_unread(serve, form, bind):
    """Posted, returned, and then the end; the records after it are not handled."""
    handled = []

    def react(conn, message):
        handled.append(message)
        conn.post(b"posted")
        conn.close()
        return b"returned"

    with serve(react, bind=bind) as server:
        with server.dial() as peer:
            for number in range(5):
                peer.send(b"%d" % number)

            assert [b"posted", b"returned"] == records_to_end(peer)
        assert ["done"] == server.reasons(1)
    assert [b"0"] == handled


def test_a_peer_that_does_not_read_is_not_read(serve, form, bind):
    """Reading pauses, and all answers arrive when it reads."""
    with serve(lambda _conn, message: message * 20_000, bind=bind) as server:
        with server.dial() as peer:

            def send():
                for number in range(100):
                    peer.send(b"%d" % (number % 10))
                peer.shutdown(socket.SHUT_WR)

            sender = threading.Thread(target=send)
            sender.start()
            server.wait_until(lambda _: server.record.of(EventName.READING_PAUSED))
            answers = records_to_end(peer)
            sender.join()

        assert [b"%d" % (number % 10) * 20_000 for number in range(100)] == answers
        assert ["peer_closed"] == server.reasons(1)


def test_a_failure_ends_its_connection_alone(serve, form, bind):
    """The others go on."""

    def react(_conn, message):
        if message == b"raise":
            raise ValueError("on purpose")
        return message

    with serve(react, bind=bind, fails=1) as server, server.dial() as other:
        with server.dial() as peer:
            peer.send(b"raise")
            assert [] == records_to_end(peer)
        assert ["handler_error"] == server.reasons(1)
        other.send(b"still there?")
        assert b"still there?" == other.recv(100)
        other.close()


@pytest.mark.forms(lambda form: form.has_conn)
def test_the_codec_changes_with_the_next_record(serve, form, bind):
    """Records say themselves where they end."""
    json = penstock.as_service(lambda message: message, codec="json-lines").codec

    def react(conn, message):
        if message == b"switch":
            conn.set_codec(json)
            return {"now": "JSON"}
        return message

    with serve(react, bind=bind) as server, server.dial() as peer:
        for record in (b"[1]", b"switch", b"[2]"):
            peer.send(record)
        peer.shutdown(socket.SHUT_WR)

        assert [b"[1]", b'{"now":"JSON"}', b"[2]"] == [record.rstrip() for record in records_to_end(peer)]
