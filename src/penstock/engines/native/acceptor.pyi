import socket
from typing import Any

from ...address import Address
from ...core.handlers import AnyHandler, Driver
from ..luggage import Arrival
from .engine import NativeBacklog
from .host import Host

class ListenerPoll:
    def __init__(self, host: Host, backlog: NativeBacklog, handler: AnyHandler, driver: Driver) -> None: ...
    def poll(self, wanted: bool) -> None: ...

def adopted(host: Host, handler: AnyHandler, local: Address, sock: socket.socket, arrival: Arrival) -> Any: ...
