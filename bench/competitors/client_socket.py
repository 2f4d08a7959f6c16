"""A client by hand, as in the library reference of socket: create_connection and makefile."""

import socket

from client_program import REQUEST, arguments, check, obey

options = arguments()
sock = socket.create_connection(("127.0.0.1", options.port))
sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
file = sock.makefile("rwb")


def ask(count: int) -> None:
    for _ in range(count):
        file.write(REQUEST + b"\n")
        file.flush()
        check(file.readline().removesuffix(b"\n"))


obey(ask)
