from collections.abc import Callable, Sequence

from ...address import Address, Peer
from .connection import Host
from .conversation import ConversationConnection

class ClientConversation(ConversationConnection):
    on_change: Callable[[], object] | None
    is_open: bool
    is_gone: bool
    can_write: bool
    is_unused: bool
    def __init__(
        self, host: Host, peer: Peer, local: Address, read_s: float | None, total_s: float | None
    ) -> None: ...
    def close_unused(self) -> None: ...
    def put_frames(self, frames: Sequence[bytes]) -> None: ...
