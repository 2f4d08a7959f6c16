"""Framing: how a byte stream is cut into messages, and messages are framed for the stream. No I/O, no clock."""

from .base import DEFAULT_MAX_FRAME_BYTES, DEFAULT_MAX_LINE_BYTES, NEED_DATA, Buffer, Codec, NeedData
from .lines import Lines
from .raw import Raw
from .registry import CodecInfo, CodecOption, describe_codecs, parse_codec

__all__ = [
    "DEFAULT_MAX_FRAME_BYTES",
    "DEFAULT_MAX_LINE_BYTES",
    "NEED_DATA",
    "Buffer",
    "Codec",
    "CodecInfo",
    "CodecOption",
    "Lines",
    "NeedData",
    "Raw",
    "describe_codecs",
    "parse_codec",
]
