"""gevent's StreamServer, as in its examples: makefile, readline, sendall."""

from common import MAX_LINE, arguments, handle, ready
from gevent.server import StreamServer


def echo(socket, address):
    with socket.makefile(mode="rb") as reader:
        while line := reader.readline(MAX_LINE):
            socket.sendall(handle(line.removesuffix(b"\n")) + b"\n")


options = arguments("lines")
server = StreamServer(("127.0.0.1", options.port), echo, backlog=1024)
server.start()
ready(server.server_port)
server.serve_forever()
