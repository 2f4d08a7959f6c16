"""What a library's refusal means, told by a look at the bytes: its classes and texts change between releases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

# An error of these classes says nothing about the message, whatever the library.
NOT_THE_PEER: Final = (MemoryError,)


def problem_of(error: Exception, wanted: Any, decode_any: Callable[[bytes], Any], data: bytes) -> str:
    """Say what is wrong with ``data``, which could not be decoded into ``wanted``.

    Args:
        error: What decoding raised.
        wanted: The type that was asked for; ``Any`` for none.
        decode_any: Decodes without a type.
        data: The whole message.

    Raises:
        Exception: ``error`` itself, where the bytes are well formed and the code of ``wanted`` failed, a
            ``__post_init__`` with a KeyError say: that is the application's fault, not the peer's.
    """
    import msgspec  # noqa: PLC0415  # loaded by the codec already

    # What is documented as a refusal: msgspec's own base class, the ValueError of a check, nesting beyond the stack.
    if wanted is not Any and not isinstance(error, (msgspec.MsgspecError, ValueError, RecursionError)):
        try:
            decode_any(data)
        except Exception:  # noqa: S110  # the bytes are malformed, whatever it is called
            pass
        else:
            raise error
    return str(error)
