"""Law 1 for a handler that moves the clock which its server was given, or has its own connection go on.

What is due by then is done once nothing of the user's is being called: what is read meanwhile would be handled in the
middle of what is being handled.
"""

import pytest

import penstock
from penstock.config import Timeouts
from penstock.core.service import callbacks
from penstock.testing.clock import ManualClock
from penstock.testing.peers import PATIENCE_S, read_exactly, read_to_end

NEVER = Timeouts(
    first_message_s=None, idle_s=None, message_s=None, write_s=None, lifetime_s=None, drain_s=8.0, linger_s=1.0
)
LOOPS = ("pure", "uvloop", "native", "attached", "eager-native")


@pytest.mark.tapped
@pytest.mark.engines(*LOOPS)
@pytest.mark.parametrize("is_async", [False, True], ids=["def", "async"])
def test_what_is_read_for_another_does_not_mix_with_what_is_being_handled(serve, engine, is_async):
    """The other one's idle time passes within the handler: before it is held against that peer, its bytes are read."""
    clock, heard = ManualClock(), []

    def act(message):
        heard.append(message)
        if message == b"move":
            other.sendall(b"o" * 40 + b"\n")
            clock.advance(4.0)
        return message

    async def act_async(message):
        return act(message)

    handler = penstock.on_message(codec="lines")(act_async if is_async else act)
    with serve(handler, clock=clock, timeouts=NEVER.merged(idle_s=8.0)) as server, server.dial() as other:
        server.wait_connections(1)
        server.call(lambda: clock.advance(5.0))
        with server.dial() as peer:
            peer.sendall(b"move\n" + b"a" * 20 + b"\n" + b"b" * 20 + b"\n")

            assert b"move\n" + b"a" * 20 + b"\n" + b"b" * 20 + b"\n" == read_exactly(peer, 47)
            assert b"o" * 40 + b"\n" == read_exactly(other, 41)
            assert 2 == len(server.server.connections)

    assert sorted([b"move", b"a" * 20, b"b" * 20, b"o" * 40]) == sorted(heard)
    assert [b"move", b"a" * 20, b"b" * 20] == [message for message in heard if message[:1] != b"o"]


@pytest.mark.uncipherable("who is not accepted has no handshake")
@pytest.mark.engines(*LOOPS)
@pytest.mark.parametrize("where", ["on_connect", "on_message", "on_timeout"])
def test_its_own_messages_are_never_handled_one_within_another(serve, engine, where):
    """Its own deadline passes within a callback, with more of its messages in the kernel."""
    clock, depth, most, heard = ManualClock(), [], [], []
    peers = []

    class Callbacks(penstock.Handler):
        def within(self, conn, name):
            depth.append(name)
            most.append(len(depth))
            if name == where:
                peers[0].sendall(b"more\n")
                conn.set_timeouts(idle_s=1.0)
                clock.advance(0.5 if where == "on_timeout" else 1.0)
            depth.pop()

        def on_connect(self, conn):
            self.within(conn, "on_connect")

        def on_message(self, conn, message):
            heard.append(message)
            self.within(conn, "on_message" if message == b"first" else "")

        def on_timeout(self, conn, which):
            self.within(conn, "on_timeout")

    service = callbacks(Callbacks, name="moves", codec="lines")
    with serve(service, clock=clock, timeouts=NEVER.merged(idle_s=8.0)) as server:
        server.server.suspend()
        with server.dial() as peer:
            peers.append(peer)
            server.call(server.server.resume)
            server.wait_connections(1)
            if where != "on_timeout":
                peer.sendall(b"first\n")
                while not server.call(lambda: b"first" in heard):
                    pass
            server.call(lambda: clock.advance(8.0))
            read_to_end(peer)
        server.reasons(1)

    assert {1} == set(most)


@pytest.mark.engines(*LOOPS)
def test_a_connection_that_is_read_again_within_its_handler_goes_on_after_it(serve, engine):
    """As when memory is no longer short: each message once, in order, none within another."""
    depth, most, heard = [], [], []

    def act(conn, message):
        depth.append(message)
        most.append(len(depth))
        heard.append(message)
        if message in (b"0", b"5"):
            conn.suspend_reading()
            conn.unsuspend_reading()
        depth.pop()
        return message

    wire = b"".join(b"%d\n" % number for number in range(10))
    with serve(penstock.on_message(codec="lines")(act)) as server, server.dial() as peer:
        peer.settimeout(PATIENCE_S)
        peer.sendall(wire)
        assert wire == read_exactly(peer, len(wire))
        peer.sendall(b"10\n")
        assert b"10\n" == read_exactly(peer, 3)

    assert ([b"%d" % number for number in range(11)], {1}) == (heard, set(most))
