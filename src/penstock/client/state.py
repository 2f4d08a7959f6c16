"""What a client that stays connected is doing."""

from dataclasses import dataclass
from enum import StrEnum


class ClientState(StrEnum):
    """What a client is doing."""

    CONNECTING = "connecting"
    CONNECTED = "connected"  # the hello hook has run
    AWAY = "away"  # waiting before the next attempt
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class StateChange:
    """What ``on_state`` is told.

    Attributes:
        state: The new state.
        error: Why the connection, or the attempt, ended; None where nothing did.
        retry_in_s: How long it will be `ClientState.AWAY`, in seconds; otherwise None.
    """

    state: ClientState
    error: Exception | None = None
    retry_in_s: float | None = None
