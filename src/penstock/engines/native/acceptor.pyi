from ...core.handlers import AnyHandler, Driver
from .engine import NativeBacklog
from .host import Host

class ListenerPoll:
    def __init__(self, host: Host, backlog: NativeBacklog, handler: AnyHandler, driver: Driver) -> None: ...
    def poll(self, wanted: bool) -> None: ...
