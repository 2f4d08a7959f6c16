"""What an engine calls instead of a codec itself: the same, and held to its contract.

A codec may be a user's. What it raises that it may not, what it returns that is none of what it may, is a `CodecError`
with its cause: one word for it on every engine, in servers and clients. Whether a message is one of its messages, only
the codec can say, by LocalProtocolError or TypeError. A lack of memory is no fault of either, and stays what it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from ..errors import CodecError, LocalProtocolError, RemoteProtocolError
from .base import NEED_DATA, Buffer, Codec, NeedData

M = TypeVar("M")


def decode(codec: Codec[M], buffer: Buffer) -> M | NeedData:
    """Take one message off the front of ``buffer``.

    Raises:
        RemoteProtocolError, CodecError: It is refused; the codec failed, or took nothing off the buffer.
    """
    before = len(buffer)
    try:
        message = codec.decode(buffer)
    except (RemoteProtocolError, MemoryError):
        raise
    except Exception as error:
        raise failure(codec, "decode", error) from error
    if message is not NEED_DATA and len(buffer) >= before:
        raise _breach(codec, "decode", "returned a message and took no bytes off the buffer")
    return message


def decode_many(codec: Codec[M], data: bytes, limit: int) -> tuple[list[M], int]:
    """Take up to ``limit`` messages off the front of ``data``.

    Raises:
        RemoteProtocolError, CodecError: The first is refused; the codec failed, or returned something else.
    """
    try:
        messages, taken = codec.decode_many(data, limit)
        if messages and not 0 < taken <= len(data):
            raise _breach(codec, "decode_many", f"returned messages and says that they took {taken} bytes")
    except (RemoteProtocolError, CodecError, MemoryError):
        raise
    except Exception as error:
        raise failure(codec, "decode_many", error) from error
    return messages, taken


def finish(codec: Codec[M], buffer: Buffer) -> M | NeedData:
    """Say what the bytes left over at EOF are.

    Raises:
        RemoteProtocolError, CodecError: They are refused; the codec failed.
    """
    try:
        return codec.finish(buffer)
    except (RemoteProtocolError, MemoryError):
        raise
    except Exception as error:
        raise failure(codec, "finish", error) from error


def decode_datagram(codec: Codec[M], data: bytes) -> M:
    """Decode a whole datagram or record.

    Raises:
        RemoteProtocolError, CodecError: It is refused; the codec failed.
    """
    try:
        return codec.decode_datagram(data)
    except (RemoteProtocolError, MemoryError):
        raise
    except Exception as error:
        raise failure(codec, "decode_datagram", error) from error


def encode(codec: Codec[M], message: M) -> bytes:
    """Frame one message.

    Raises:
        LocalProtocolError, TypeError, CodecError: It is no message of the codec; the codec failed.
    """
    try:
        data = codec.encode(message)
    except (LocalProtocolError, TypeError, MemoryError):
        raise
    except Exception as error:
        raise failure(codec, "encode", error) from error
    return data if type(data) is bytes else as_bytes(codec, "encode", data)


def encode_many(codec: Codec[M], messages: Sequence[M]) -> bytes:
    """Frame several messages.

    Raises:
        LocalProtocolError, TypeError, CodecError: One of them is no message of the codec; the codec failed.
    """
    try:
        data = codec.encode_many(messages)
    except (LocalProtocolError, TypeError, MemoryError):
        raise
    except Exception as error:
        raise failure(codec, "encode_many", error) from error
    return data if type(data) is bytes else as_bytes(codec, "encode_many", data)


def encode_datagram(codec: Codec[M], message: M) -> bytes:
    """Encode one message as one datagram or record.

    Raises:
        LocalProtocolError, TypeError, CodecError: It is no message of the codec; the codec failed.
    """
    try:
        data = codec.encode_datagram(message)
    except (LocalProtocolError, TypeError, MemoryError):
        raise
    except Exception as error:
        raise failure(codec, "encode_datagram", error) from error
    return data if type(data) is bytes else as_bytes(codec, "encode_datagram", data)


def as_bytes(codec: Codec[Any], method: str, data: object) -> bytes:
    """Return what a codec wrote as bytes, which it may have gathered in a bytearray.

    Raises:
        CodecError: It is no bytes.
    """
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    raise _breach(codec, method, f"returned {type(data).__name__} where bytes are sent")


def failure(codec: Codec[Any], method: str, error: Exception) -> RemoteProtocolError | CodecError:
    """Return what a codec's method has to answer for when it raised ``error``: that itself, where it may raise it."""
    if isinstance(error, RemoteProtocolError | CodecError):
        return error
    made = CodecError(codec.name, method, f"raised {type(error).__name__}: {error}")
    made.__cause__ = error
    return made


def _breach(codec: Codec[Any], method: str, problem: str) -> CodecError:
    """Return the error for what no traceback leads to: it says where the method stands."""
    code = getattr(getattr(type(codec), method, None), "__code__", None)
    place = f" ({code.co_filename}:{code.co_firstlineno})" if code is not None else ""
    return CodecError(codec.name, method, problem + place)
