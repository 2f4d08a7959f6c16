"""What is said between the server, the nursery and the processes of connections."""

import os
import socket

from penstock.server.forking.messages import Ended, Serve, received_by_nursery, received_by_server, send


def test_a_message_is_a_packet_with_its_descriptor():
    """Whole, one after the other; at the end there is none."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    asked = Serve(id=7, address="tcp://127.0.0.1:9000", peer=["127.0.0.1", 40000])
    with ours, theirs:
        send(ours, asked, [ours.fileno()])
        message, (descriptor,) = received_by_nursery(theirs)
        assert os.path.sameopenfile(descriptor, ours.fileno())
        os.close(descriptor)
        send(theirs, Ended(id=7, status=-11))
        send(theirs, Ended(id=8, status=0))

        assert asked == message
        assert [Ended(id=7, status=-11), Ended(id=8, status=0)] == [received_by_server(ours) for _ in range(2)]
        theirs.close()
        assert None is received_by_server(ours)
