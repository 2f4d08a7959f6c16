"""What a handler refuses: it raises the error that a codec would have raised."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Final

from ..errors import ProtocolError, RemoteProtocolError
from ..reasons import CloseReason

# Where no handler is: the classic services, and the forms of handlers that tests use, are handlers like any other.
_PACKAGE: Final = Path(__file__).parents[1]
_PARTS: Final = ("app", "client", "codecs", "core", "engines", "groups", "server")
_OURS: Final = tuple(str(_PACKAGE / part) + os.sep for part in _PARTS)
_COMPILED: Final = ".pyx"


def refusal_of(error: BaseException) -> CloseReason | None:
    """Return what a connection ends with whose handler refused what its peer sent; None where it did not.

    It did when it raised a `RemoteProtocolError`, or a plain `ProtocolError`, by itself. One that came to it out of
    another connection, a client's say, is no fault of this peer: then code of ours stands between the handler and where
    it was raised.
    """
    if not (isinstance(error, RemoteProtocolError) or type(error) is ProtocolError) or not _raised_by_user(error):
        return None
    return error.reason if isinstance(error, RemoteProtocolError) else CloseReason.BAD_FRAME


def _raised_by_user(error: BaseException) -> bool:
    entered = False
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        is_ours = name.startswith(_OURS) or name.endswith(_COMPILED)
        if entered and is_ours:
            return False
        entered = entered or not is_ours
        trace = trace.tb_next
    return entered
