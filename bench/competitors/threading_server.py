"""socketserver.ThreadingTCPServer with a StreamRequestHandler, as in the library reference."""

import socketserver

from common import MAX_LINE, arguments, handle, ready


class Echo(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        while line := self.rfile.readline(MAX_LINE):
            self.wfile.write(handle(line.removesuffix(b"\n")) + b"\n")


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 1024


options = arguments("lines")
with Server(("127.0.0.1", options.port), Echo) as server:
    ready(server.server_address[1])
    server.serve_forever()
