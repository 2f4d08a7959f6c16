"""What is said about a handler that returned what its codec does not send."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from ..errors import WrongReplyError, WrongTypeError
from .handlers import CallbackHandler
from .places import place_of

if TYPE_CHECKING:
    from ..codecs.base import Codec
    from .handlers import AnyHandler
    from .service import Service

# Where no handler is: the services, and the forms of handlers that tests use, are handlers like any other.
_PACKAGE: Final = Path(__file__).parents[1]
_OURS: Final = tuple(str(_PACKAGE / part) + os.sep for part in ("codecs", "core", "engines", "server"))
_COMPILED: Final = ".pyx"
_ENCODERS: Final = frozenset({"encode", "encode_many", "encode_datagram"})


def explained(error: BaseException, service: Service[Any], codec: Codec[Any]) -> BaseException:
    """Return a handler's failure in the handler's words, where it is that the codec refused the type of its reply.

    It is looked for here, after the fact, so that replies are not looked at before. What the handler itself posted
    fails in the handler, and its own line is in the traceback: that error is returned as it is.

    Args:
        error: What ended the connection.
        service: Whose handler it was.
        codec: What was to encode the reply.
    """
    if not isinstance(error, TypeError) or isinstance(error, WrongReplyError) or not _was_returned(error):
        return error
    if isinstance(error, WrongTypeError):
        problem = f"{error.got}; codec {error.codec} sends {error.wanted}"
    else:
        problem = f"what codec {codec.name} does not send: {error}"
    wrong = WrongReplyError(service.name, place_of(_function(service.handler)), problem)
    wrong.__cause__ = error
    return wrong


def _function(handler: AnyHandler) -> Any:
    return handler.handler_class.on_message if isinstance(handler, CallbackHandler) else handler.function


def _was_returned(error: BaseException) -> bool:
    """Whether a codec raised it while nothing of the user's was running."""
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if code.co_name in _ENCODERS:
            return True
        if not (code.co_filename.startswith(_OURS) or code.co_filename.endswith(_COMPILED)):
            return False
        trace = trace.tb_next
    return isinstance(error, WrongTypeError)
