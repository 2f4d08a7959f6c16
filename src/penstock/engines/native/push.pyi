from typing import Any

from ...address import Address, Peer
from ...core.service import CallbackHandler, MessageHandler
from ..pure.push import PushConnection as _PurePushConnection
from .connection import Host

# At run time it is no subclass, but it has the same methods: what a server does with the one it does with the other.
class PushConnection(_PurePushConnection[Any]):
    def __init__(self, host: Host, peer: Peer, local: Address, handler: MessageHandler | CallbackHandler) -> None: ...
    def begin(self, fd: int) -> None: ...
