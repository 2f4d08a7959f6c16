import socket
from collections.abc import Callable
from typing import Any

class LoadLoop:
    def __init__(
        self,
        load: Any,
        measured: Any,
        dial: Callable[[], socket.socket],
        interval_s: float,
        on_interval: Callable[[float], object],
    ) -> None: ...
    def connect(self) -> None: ...
    def run(self) -> None: ...
