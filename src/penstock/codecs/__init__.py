"""Framing: how a byte stream is cut into messages, and messages are framed for the stream. No I/O, no clock."""

from typing import TYPE_CHECKING

from ..lazy import import_on_first_use
from .base import (
    DEFAULT_MAX_DEPTH,
    DEFAULT_MAX_FRAME_BYTES,
    DEFAULT_MAX_LINE_BYTES,
    NEED_DATA,
    NULL,
    Buffer,
    Codec,
    NeedData,
)

if TYPE_CHECKING:
    from .cbor import Cbor
    from .delimited import Delimited
    from .duplex import Duplex
    from .fixed import Fixed
    from .gap import Gap
    from .json_lines import JsonLines
    from .json_stream import Json
    from .length_prefixed import LengthPrefixed
    from .lines import Lines
    from .msgpack import Msgpack
    from .netstring import Netstring
    from .objects import ObjectCodec
    from .raw import Raw
    from .registry import CodecInfo, CodecOption, describe_codecs, parse_codec
    from .resp import Resp
    from .structs import Struct
    from .text import Text
    from .varint import Varint

__all__ = [
    "DEFAULT_MAX_DEPTH",
    "DEFAULT_MAX_FRAME_BYTES",
    "DEFAULT_MAX_LINE_BYTES",
    "NEED_DATA",
    "NULL",
    "Buffer",
    "Cbor",
    "Codec",
    "CodecInfo",
    "CodecOption",
    "Delimited",
    "Duplex",
    "Fixed",
    "Gap",
    "Json",
    "JsonLines",
    "LengthPrefixed",
    "Lines",
    "Msgpack",
    "NeedData",
    "Netstring",
    "ObjectCodec",
    "Raw",
    "Resp",
    "Struct",
    "Text",
    "Varint",
    "describe_codecs",
    "parse_codec",
]

# Imported on first use: an engine that needs the contract alone does not pay for eleven codecs.
__getattr__ = import_on_first_use(
    globals(),
    {
        "Cbor": "cbor",
        "CodecInfo": "registry",
        "CodecOption": "registry",
        "Delimited": "delimited",
        "Duplex": "duplex",
        "Fixed": "fixed",
        "Gap": "gap",
        "Json": "json_stream",
        "JsonLines": "json_lines",
        "LengthPrefixed": "length_prefixed",
        "Lines": "lines",
        "Msgpack": "msgpack",
        "Netstring": "netstring",
        "ObjectCodec": "objects",
        "Raw": "raw",
        "Resp": "resp",
        "Struct": "structs",
        "Text": "text",
        "Varint": "varint",
        "describe_codecs": "registry",
        "parse_codec": "registry",
    },
)
