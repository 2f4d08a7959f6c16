"""The other end: the same codecs, connecting instead of accepting."""

from .connect import ConnectResult, connect, try_connect
from .options import ClientTimeouts, SocketOptions

__all__ = ["ClientTimeouts", "ConnectResult", "SocketOptions", "connect", "try_connect"]
