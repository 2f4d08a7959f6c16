import asyncio
from collections.abc import Callable
from typing import Any

from ..base import Plan
from .poller import Poller

class Host:
    def __init__(
        self, poller: Poller, loop: asyncio.AbstractEventLoop, plan: Plan, released: Callable[[Any], None]
    ) -> None: ...
