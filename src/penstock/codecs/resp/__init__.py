"""RESP2 and RESP3, the protocols of Redis and its kin. https://redis.io/docs/latest/develop/reference/protocol-spec/."""

from .codec import Resp
from .values import (
    NULL_ARRAY,
    Attributed,
    ErrorReply,
    InlineCommand,
    ListedMap,
    ListedSet,
    NullArray,
    Push,
    SimpleString,
    VerbatimString,
    command,
)

__all__ = [
    "NULL_ARRAY",
    "Attributed",
    "ErrorReply",
    "InlineCommand",
    "ListedMap",
    "ListedSet",
    "NullArray",
    "Push",
    "Resp",
    "SimpleString",
    "VerbatimString",
    "command",
]
