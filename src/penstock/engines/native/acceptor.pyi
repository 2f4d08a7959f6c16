from ...core.service import AnyHandler
from .engine import NativeBacklog
from .host import Host

class ListenerPoll:
    def __init__(self, host: Host, backlog: NativeBacklog, handler: AnyHandler) -> None: ...
    def poll(self, wanted: bool) -> None: ...
