from collections.abc import Iterable
from typing import Any

from ...codecs.base import Codec

def cut_all(codec: Codec[Any], pieces: Iterable[bytes]) -> tuple[list[Any], Exception | None, bytes]: ...
