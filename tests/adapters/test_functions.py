"""Functions of a socket and an address are served in threads."""

import pytest

from penstock.adapters import service_of
from penstock.errors import ApplicationError
from penstock.testing.peers import read_to_end

pytestmark = pytest.mark.engines("blocking")  # as of every handler with a thread of its own


def echo(socket, address):
    """As in gevent's examples."""
    fileobj = socket.makefile("rb")
    while line := fileobj.readline():
        if line.strip().lower() == b"quit":
            break
        socket.sendall(line)
    fileobj.close()


def test_a_function_of_a_socket_and_an_address_is_called_for_each_connection(serve, engine):
    """It reads to the end, and the connection ends when it returns."""
    with serve(echo) as server, server.dial() as peer, server.dial() as other:
        other.sendall(b"one\n")
        peer.sendall(b"two\nthree\nquit\nfour\n")

        assert b"two\nthree\n" == read_to_end(peer)


def test_one_that_is_async_is_refused():
    """A blocking socket would hold the loop."""

    async def handle(sock, addr):
        """Never called."""

    with pytest.raises(ApplicationError, match="handle is async def: a function of a blocking socket is def"):
        service_of(handle)
