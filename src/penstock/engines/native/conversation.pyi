from typing import Any

from ...address import Address, Peer
from ...core.service import AnyHandler
from ..pure.tasks import TaskConnection
from .connection import Host

# At run time it is no subclass, but it has the same methods: what a server does with the one it does with the other.
class ConversationConnection(TaskConnection[Any]):
    def __init__(self, host: Host, peer: Peer, local: Address, handler: AnyHandler) -> None: ...
    def begin(self, fd: int) -> None: ...
