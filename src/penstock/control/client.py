"""The other end of a control socket, for `penstock ctl` and for programs."""

from __future__ import annotations

from typing import Any, Self

from ..address import Address, Scheme
from ..client.options import ClientTimeouts
from ..client.sync import connect_sync
from ..errors import ConfigurationError, ConnectionEndedError, EndOfStreamError
from .messages import Answer, AnyRequest, answer_codec


class Control:
    """A connection to a server's control socket: ``with Control("/run/hello.sock") as control: control.ask(Status())``.

    Args:
        path: Of the socket.
        timeout_s: How long an answer may take, in seconds; None for ever.

    Raises:
        ConnectError: No server listens there, or this user may not speak to it.
    """

    def __init__(self, path: str, timeout_s: float | None = 5.0) -> None:
        self._timeout_s = timeout_s
        address = Address(Scheme.UNIX, path=path)
        self._conn = connect_sync(address, codec=answer_codec(), timeouts=ClientTimeouts(connect_s=timeout_s))

    def ask(self, request: AnyRequest) -> tuple[Any, list[dict[str, Any]]]:
        """Ask; return the result and the rows of the answer.

        Raises:
            ConfigurationError: The server refuses, for this reason.
            ConnectionEndedError: It ended before it had answered, or this user may not ask.
            TimeoutError: It has not answered in time.
        """
        self._conn.send(request)
        rows: list[dict[str, Any]] = []
        while True:
            answer: Answer = self._conn.receive(self._timeout_s)
            rows += answer.rows
            if not answer.more:
                break
        if not answer.ok:
            raise ConfigurationError(answer.error or "the server refuses")
        return answer.result, rows

    def wait_end(self) -> None:
        """Wait until the server has ended."""
        try:
            self._conn.receive(None)
        except (EndOfStreamError, ConnectionEndedError):
            return

    def close(self) -> None:
        """Close it. May be repeated."""
        self._conn.close()
        self._conn.wait_closed()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
