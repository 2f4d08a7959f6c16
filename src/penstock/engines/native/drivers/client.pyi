from typing import Any

from ...client import ClientPlan
from ...loop.client import LoopClientConnection
from ..host import Host

# At run time it is no subclass, but it has the same methods.
class ClientConversation(LoopClientConnection[Any]):
    def __init__(self, host: Host, plan: ClientPlan, fd: int) -> None: ...
