"""What an engine calls instead of a codec itself: the same, and held to its contract.

A codec may be a user's. What it raises that it may not, what it returns that is none of what it may, is a `CodecError`
with its cause: one word for it on every engine, in servers and clients. Whether a message is one of its messages, only
the codec can say, by LocalProtocolError or TypeError. A lack of memory is no fault of either, and stays what it is.
"""

# ruff: noqa: B904 - what `failure` returns is the error itself, or has it as its cause

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from ..errors import CodecError, LocalProtocolError, RemoteProtocolError
from .base import NEED_DATA, Buffer, Codec, NeedData

M = TypeVar("M")

# May say that a message is none of the codec's; what decodes may say so of what the peer sent.
ENCODERS = frozenset({"encode", "encode_many", "encode_datagram"})

TOOK_NOTHING = "returned a message and took no bytes off the buffer"


def decode(codec: Codec[M], buffer: Buffer) -> M | NeedData:
    """Take one message off the front of ``buffer``.

    Raises:
        RemoteProtocolError, CodecError: It is refused; the codec failed, or took nothing off the buffer.
    """
    before = len(buffer)
    try:
        message = codec.decode(buffer)
    except Exception as error:
        raise failure(codec, "decode", error)
    if message is not NEED_DATA and len(buffer) >= before:
        raise breach(codec, "decode", TOOK_NOTHING)
    return message


def finish(codec: Codec[M], buffer: Buffer) -> M | NeedData:
    """Say what the bytes left over at EOF are.

    Raises:
        RemoteProtocolError, CodecError: They are refused; the codec failed.
    """
    try:
        return codec.finish(buffer)
    except Exception as error:
        raise failure(codec, "finish", error)


def decode_quiet(codec: Codec[M], buffer: Buffer) -> M | NeedData:
    """Say what the bytes are that a silence follows. The buffer is empty afterwards.

    Raises:
        RemoteProtocolError, CodecError: They are refused; the codec failed. The buffer is as it was.
    """
    try:
        message = codec.decode_quiet(buffer)
    except Exception as error:
        raise failure(codec, "decode_quiet", error)
    buffer.clear()
    return message


def decode_datagram(codec: Codec[M], data: bytes) -> M:
    """Decode a whole datagram or record.

    Raises:
        RemoteProtocolError, CodecError: It is refused; the codec failed.
    """
    try:
        return codec.decode_datagram(data)
    except Exception as error:
        raise failure(codec, "decode_datagram", error)


def encode(codec: Codec[M], message: M) -> bytes:
    """Frame one message.

    Raises:
        LocalProtocolError, TypeError, CodecError: It is no message of the codec; the codec failed.
    """
    try:
        data = codec.encode(message)
    except Exception as error:
        raise failure(codec, "encode", error)
    return data if type(data) is bytes else as_bytes(codec, "encode", data)


def encode_many(codec: Codec[M], messages: Sequence[M]) -> bytes:
    """Frame several messages.

    Raises:
        LocalProtocolError, TypeError, CodecError: One of them is no message of the codec; the codec failed.
    """
    try:
        data = codec.encode_many(messages)
    except Exception as error:
        raise failure(codec, "encode_many", error)
    return data if type(data) is bytes else as_bytes(codec, "encode_many", data)


def encode_datagram(codec: Codec[M], message: M) -> bytes:
    """Encode one message as one datagram or record.

    Raises:
        LocalProtocolError, TypeError, CodecError: It is no message of the codec; the codec failed.
    """
    try:
        data = codec.encode_datagram(message)
    except Exception as error:
        raise failure(codec, "encode_datagram", error)
    return data if type(data) is bytes else as_bytes(codec, "encode_datagram", data)


def as_bytes(codec: Codec[Any], method: str, data: object) -> bytes:
    """Return what a codec wrote as bytes, which it may have gathered in a bytearray.

    Raises:
        CodecError: It is no bytes.
    """
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    raise breach(codec, method, f"returned {type(data).__name__} where bytes are sent")


def failure(codec: Codec[Any], method: str, error: Exception) -> Exception:
    """Return what a codec's method has to answer for when it raised ``error``: that itself, where it may raise it."""
    if isinstance(error, RemoteProtocolError | CodecError | MemoryError):
        return error
    if isinstance(error, LocalProtocolError | TypeError) and method in ENCODERS:
        return error
    made = CodecError(codec.name, method, f"raised {type(error).__name__}: {error}")
    made.__cause__ = error
    return made


def breach(codec: Codec[Any], method: str, problem: str) -> CodecError:
    """Return the error for what no traceback leads to: it says where the method stands."""
    code = getattr(getattr(type(codec), method, None), "__code__", None)
    place = f" ({code.co_filename}:{code.co_firstlineno})" if code is not None else ""
    return CodecError(codec.name, method, problem + place)
