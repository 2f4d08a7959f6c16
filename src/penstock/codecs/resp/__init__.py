"""RESP2 and RESP3, the protocols of Redis and its kin. https://redis.io/docs/latest/develop/reference/protocol-spec/."""

from .codec import Resp
from .values import Attributed, ErrorReply, Push, SimpleString, VerbatimString

__all__ = ["Attributed", "ErrorReply", "Push", "Resp", "SimpleString", "VerbatimString"]
