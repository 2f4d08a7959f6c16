"""What a connection may be late with. When it is, `core.law.deadlines` says."""

from enum import Enum

from ..reasons import CloseReason


class Timeout(Enum):
    """Which patience ended. The value is the close reason."""

    HANDSHAKE = CloseReason.HANDSHAKE_TIMEOUT  # the peer has not shown who it is
    FIRST_MESSAGE = CloseReason.FIRST_MESSAGE_TIMEOUT  # nothing complete since the connection opened
    IDLE = CloseReason.IDLE_TIMEOUT  # no byte in either direction
    MESSAGE = CloseReason.MESSAGE_TIMEOUT  # a message began and did not end
    WRITE = CloseReason.WRITE_TIMEOUT  # output over the high watermark, or left at the close, is not read
    LIFETIME = CloseReason.LIFETIME
    LINGER = CloseReason.DONE  # everything was sent; the peer does not end its side
