from collections.abc import Callable, Sequence
from typing import Any

from ...address import Address, Peer
from ..loop.tasks import TaskConnection
from .host import Host

# At run time it is no subclass, but it has the same methods.
class ClientConversation(TaskConnection[Any]):
    on_change: Callable[[], object] | None
    is_open: bool
    is_gone: bool
    can_write: bool
    is_unused: bool
    def __init__(self, host: Host, peer: Peer, local: Address, read_s: float | None, total_s: float | None) -> None: ...
    def begin(self, fd: int) -> None: ...
    def close_unused(self) -> None: ...
    def put_frames(self, frames: Sequence[bytes]) -> None: ...
