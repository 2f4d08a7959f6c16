"""Print: ``peer: message``, one line each, whatever is in it."""

import os

import pytest

from penstock.services.display import describe
from penstock.telemetry.log import Pace


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        (b"hello", "hello"),
        (b"hello\r\n", "hello"),
        (b"", ""),
        ("zażółć 🦆".encode(), "zażółć 🦆"),
        (b"\xff\xfe", r"\xff\xfe"),
        (b"a\nb", r"a\nb"),
        (b"\x1b[2J", r"\x1b[2J"),
        (b"tab\there", r"tab\there"),
        ("text", "text"),
        ({"a": 1}, "{'a': 1}"),
        (None, "None"),
    ],
)
def test_a_message_is_one_line(message, shown):
    """Bytes as UTF-8; what is none, or would move the cursor, as its escape."""
    assert shown == describe(message)


def test_streams(run, stream, model, capfd):
    """Each line with its peer; nothing is answered."""
    with run("print", stream, model=model) as server:
        with server.peer() as peer:
            name = _name(peer, server)
            peer.say(b"hello\nworld\r\n", "zażółć".encode())
            assert b"" == peer.finish()
        server.wait_closed(1)

    assert f"{name}: hello\n{name}: world\n{name}: zażółć\n" == capfd.readouterr().out


def test_datagrams(run, datagram, model, capfd):
    """A datagram is a message, the empty one too."""
    with run("print", datagram, model=model) as server, server.peer() as peer:
        name = _name(peer, server)
        for count, payload in enumerate((b"hello", b"", b"bye\n"), 1):
            peer.sock.send(payload)
            server.wait_until(lambda each, count=count: each.stats.datagrams == count)

    assert f"{name}: hello\n{name}: \n{name}: bye\n" == capfd.readouterr().out


def test_records(run, model, capfd):
    """A record is a message."""
    with run("print", "seqpacket", model=model) as server:
        with server.peer() as peer:
            peer.say(b"hello")
            assert b"" == peer.finish()
        server.wait_closed(1)

    assert capfd.readouterr().out.endswith(": hello\n")


def test_once_serves_one_clients_first_message(run, stream, model, capfd):
    """Then the server ends by itself; a second client is not served."""
    with run("print", stream, model=model, server_options={"once": True}) as server:
        with server.peer() as peer:
            peer.say(b"first\nsecond\n")
            assert b"" == peer.hear_to_end()
        server.wait(server.server.wait_stopped())

        with pytest.raises(OSError), server.peer():
            pass
    out = capfd.readouterr().out

    assert out.endswith(": first\n")
    assert 1 == out.count("\n")


def test_once_serves_one_datagram(run, datagram, capfd):
    """One datagram, and the server ends."""
    with run("print", datagram, server_options={"once": True}) as server:
        with server.peer() as peer:
            peer.say(b"first")
        server.wait(server.server.wait_stopped())

    assert capfd.readouterr().out.endswith(": first\n")


def test_a_closed_standard_output_does_not_end_the_server(run, model, monkeypatch):
    """Closed, broken or never there: peers are served all the same, and no connection ends for it."""
    reading, writing = os.pipe()
    os.close(reading)

    class Broken:
        def fileno(self):
            return writing

    class Closed:
        def fileno(self):
            raise ValueError("I/O operation on closed file")

    for stdout in (Broken(), Closed(), None):
        with run("print", "tcp4", model=model) as server, monkeypatch.context() as patch:
            patch.setattr("sys.stdout", stdout)
            assert b"" == server.once(b"hello\nworld\n")
            server.wait_closed(1)

            assert {"peer_closed": 1} == dict(server.server.stats.closed)
    os.close(writing)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_full_disk_is_told(run, model, monkeypatch, caplog):
    """Peers are served all the same; whoever reads the log learns that what they say is lost, once a second at most."""
    monkeypatch.setattr("penstock.services.display._failures", Pace(1, lambda: 0.0))
    with open("/dev/full", "w") as full, run("print", "tcp4", model=model) as server:
        monkeypatch.setattr("sys.stdout", full)
        assert b"" == server.once(b"hello\nworld\n")
        server.wait_closed(1)
        monkeypatch.undo()

    assert ["cannot print: no space left on device"] == [
        record.getMessage() for record in caplog.records if record.levelname == "ERROR"
    ]


def _name(peer, server):
    """What the server calls this peer."""
    sockname = peer.sock.getsockname()
    if server.transport == "unix-dgram":
        return f"unix:@{sockname[1:].decode()}"
    if isinstance(sockname, tuple):
        return f"[{sockname[0]}]:{sockname[1]}" if ":" in sockname[0] else f"{sockname[0]}:{sockname[1]}"
    return f"unix:pid={os.getpid()},uid={os.getuid()}"
