"""A message that is encoded once and posted to many: law 1 holds for it as for every other."""

import socket

import pytest

import penstock


def read_to_end(peer):
    got = b""
    while data := peer.recv(1 << 16):
        got += data
    return got


@pytest.mark.forms(lambda form: form.has_conn)
def test_frames_that_are_posted_keep_their_place_among_replies_and_messages(serve, engine, form):
    """In the order of the calls, before the reply of the message at hand, after those of the ones before it."""

    def react(conn, message):
        conn.post_frame(conn.frame(message + b"1"))
        conn.post(message + b"2")
        conn.post_frame(conn.frame(message + b"3"))
        return message + b"4"

    with serve(react, codec="lines") as server:
        with server.dial() as peer:
            peer.sendall(b"a\nb\nc\n")
            peer.shutdown(socket.SHUT_WR)

            assert [b"%c%d" % (letter, n) for letter in b"abc" for n in (1, 2, 3, 4)] == read_to_end(peer).split()
        server.wait_closed(1)
        (closed,) = server.record.of(penstock.EventName.CLOSED)

        assert 12 == closed.connection.messages_out


@pytest.mark.parametrize("policy", ["disconnect", "drop_oldest", "drop_newest", "raise"])
@pytest.mark.parametrize("scheme", ["tcp", "unix+seqpacket"])
def test_one_frame_is_posted_to_many_and_never_torn(serve, engine, tmp_path, policy, scheme):
    """Frames of many sizes, some far larger than one send, to peers that read late: whole, and in order."""
    bind = "tcp://127.0.0.1:0" if scheme == "tcp" else f"unix+seqpacket:{tmp_path}/s"
    end = b"\n" if scheme == "tcp" else b""
    sizes = [1, 100, 20_000, 7, 60_000, 3] * 5
    members, encoded = [], []

    class Member(penstock.Handler):
        def on_message(self, conn, message):
            if message == b"hi":
                members.append(conn)
                return message
            for number, size in enumerate(sizes):
                frame = conn.frame(b"%d:" % number + b"x" * size)
                encoded.append(frame)
                for member in members:
                    member.post_frame(frame)
            for member in members:
                member.post(b"end")
            return None

    limits = penstock.Limits(slow_consumer=policy, write_max_bytes=16 << 20)
    with serve(penstock.as_service(Member, codec="lines"), bind=bind, limits=limits) as server:
        peers = [server.dial() for _ in range(3)]
        for peer in peers:
            peer.sendall(b"hi" + end)
            assert b"hi" + end == peer.recv(10)
        peers[0].sendall(b"go" + end)
        for peer in peers:
            got = b""
            while not got.endswith(b"end" + end):
                data = peer.recv(1 << 18)
                assert data
                got += data

            assert b"".join(encoded) + b"end" + end == got
        for peer in peers:
            peer.close()


def test_a_frame_that_a_policy_gives_up_is_given_up_whole(serve, engine):
    """What the peer gets is a selection of whole frames, in order."""
    size, count = 1 << 16, 200

    @penstock.on_message(codec="lines:max=1MiB")
    def flood(conn, message):
        for number in range(count):
            conn.post_frame(conn.frame(b"%06d" % number + b"x" * size))

    limits = penstock.Limits(
        slow_consumer="drop_oldest", write_max_bytes=8 * size, write_high_bytes=2 * size, write_low_bytes=size
    )
    with serve(flood, limits=limits) as server:
        with server.dial() as peer:
            peer.sendall(b"go\n")
            server.wait_until(lambda _: server.record.of(penstock.EventName.MESSAGE_DROPPED))
            peer.shutdown(socket.SHUT_WR)
            frames = read_to_end(peer).split(b"\n")[:-1]
    numbers = [int(frame[:6]) for frame in frames]

    assert {size + 6} == {len(frame) for frame in frames}
    assert sorted(set(numbers)) == numbers
    assert len(numbers) < count


@pytest.mark.forms(lambda form: form.has_conn)
def test_what_is_no_frame_is_refused(serve, engine, form):
    """Before anything is queued, in the words of Python."""
    refusals = []

    def react(conn, message):
        for wrong in ("text", None, bytearray(b"a\n")):
            try:
                conn.post_frame(wrong)
            except TypeError as error:
                refusals.append(str(error))
        return message

    with serve(react, codec="lines") as server:
        with server.dial() as peer:
            peer.sendall(b"a\n")
            assert b"a\n" == peer.recv(100)

    assert [f"a frame is bytes, not {kind}" for kind in ("str", "NoneType", "bytearray")] == refusals


@pytest.mark.forms(lambda form: form.has_conn)
def test_after_the_end_a_frame_is_refused_as_a_message_is(serve, engine, form):
    """With the error that `post` raises."""
    refusals = []

    def react(conn, message):
        frame = conn.frame(message)
        conn.abort()
        for post, what in ((conn.post, message), (conn.post_frame, frame)):
            try:
                post(what)
            except penstock.ConnectionEndedError as error:
                refusals.append(type(error))

    with serve(react, codec="lines") as server:
        with server.dial() as peer:
            peer.sendall(b"a\n")
            server.wait_closed(1)

    assert [penstock.ClosedError] * 2 == refusals


def test_a_frame_answers_a_datagram(serve, engine):
    """There a frame is what the codec makes of a message for datagrams."""

    @penstock.on_message(codec="lines")
    def react(conn, message):
        conn.post_frame(conn.frame(message))

    with serve(react, bind="udp://127.0.0.1:0") as server:
        with server.dial() as peer:
            peer.send(b"a")

            assert b"a" == peer.recv(10)
