from ...core.service import AnyHandler
from ..door import Door
from ..listener import Listener
from .engine import NativeAcceptor
from .host import Host

class Entrance:
    def __init__(self, host: Host, listener: Listener, door: Door, handler: AnyHandler) -> None: ...
    def serve(self, acceptor: NativeAcceptor) -> None: ...
    def poll(self, wanted: bool) -> None: ...
