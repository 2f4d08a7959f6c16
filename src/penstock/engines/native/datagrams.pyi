from typing import Any

from ...codecs.base import Codec
from ...core.gate import Gate
from ...core.handlers import CallbackHandler, MessageHandler
from ...reasons import CloseReason
from ..listener import Listener
from .endpoint import NativeEndpoint
from .host import Host

class DatagramState:
    id: int
    codec: Codec[Any]
    state: Any
    close_reason: CloseReason | None
    bytes_in: int
    bytes_out: int
    _answers: int
    _endpoint: NativeEndpoint
    _gate: Gate
    _listener: Listener
    _source: bytes | None
    @property
    def _name(self) -> Any: ...

class Port:
    def __init__(
        self,
        host: Host,
        endpoint: NativeEndpoint,
        listener: Listener,
        handler: MessageHandler | CallbackHandler,
        kind: type[DatagramState],
    ) -> None: ...
    answered: int
    def poll(self, reading: bool, writing: bool) -> None: ...
    def flush(self) -> None: ...
    def clear(self) -> None: ...
