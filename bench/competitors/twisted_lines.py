"""Twisted's LineReceiver, as in its manual."""

from common import MAX_LINE, arguments, handle, ready
from twisted.internet import reactor
from twisted.internet.protocol import Factory
from twisted.protocols.basic import LineReceiver


class Echo(LineReceiver):
    delimiter = b"\n"
    MAX_LENGTH = MAX_LINE

    def lineReceived(self, line: bytes) -> None:
        self.sendLine(handle(line))


options = arguments("lines")
port = reactor.listenTCP(options.port, Factory.forProtocol(Echo), backlog=1024, interface="127.0.0.1")
ready(port.getHost().port)
reactor.run()
