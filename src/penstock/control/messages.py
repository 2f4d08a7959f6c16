"""What is said over a control socket: JSON objects, one a line, a request and its answer in turn.

A request says in ``do`` what is asked for, and may have an ``id``, which its answer repeats. Fields that are not known
are refused: a filter that is misspelt must not mean everybody.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ..codecs.json_lines import JsonLines

VERSION: Final = 1
# An answer is as many lines as it takes, so that no peer has to hold a long one whole.
ROWS_PER_LINE: Final = 500
MOST_ROWS: Final = 10_000
_MAX_LINE_BYTES: Final = 1024 * 1024


def _kebab(name: str) -> str:
    """Write ``LogLevel`` as ``log-level``."""
    return "".join(f"-{each.lower()}" if each.isupper() else each for each in name).lstrip("-")


class Request(msgspec.Struct, tag_field="do", tag=_kebab, kw_only=True, forbid_unknown_fields=True):
    """One request.

    Attributes:
        id: What the answer repeats, to tell it by.
    """

    id: int | str | None = None


class Status(Request):
    """How the server is, and each of its services."""


class Workers(Request):
    """How each worker process is."""


class Selection(Request):
    """Which connections are meant: those of which all holds that is given.

    Attributes:
        ids: These.
        worker: Of this worker process.
        service: Of this service.
        peer: From this address, this network, or ``uid:NUMBER``; or exactly this peer, with its port.
        state: Of this state: ``open``, ``peer_eof``, ``closing``, …
        min_age_s: Open for at least this long.
        min_idle_s: Idle for at least this long.
        min_queued_bytes: Owed at least so much.
    """

    ids: list[int] | None = None
    worker: int | None = None
    service: str | None = None
    peer: str | None = None
    state: str | None = None
    min_age_s: float | None = None
    min_idle_s: float | None = None
    min_queued_bytes: int | None = None

    @property
    def is_everything(self) -> bool:
        """Whether nothing is given that would leave one out."""
        return all(getattr(self, name) is None for name in Selection.__annotations__)


class Connections(Selection):
    """The connections that are open, one row each.

    Attributes:
        sort: The field of a row by which they are sorted.
        descending: The largest first.
        limit: How many rows, at most `MOST_ROWS`; all are counted.
    """

    sort: str = "id"
    descending: bool = False
    limit: int = 1000


class Kick(Selection):
    """End connections.

    Attributes:
        abort: At once, with what is queued lost; else what is queued is sent first.
        all: Really all: said where nothing else says which.
    """

    abort: bool = False
    all: bool = False


class Drain(Request):
    """End in order: the server, or one worker, which is replaced.

    Attributes:
        worker: Which worker; None for the server.
    """

    worker: int | None = None


class Stop(Request):
    """End the server at once: every connection is aborted."""


class Scale(Request):
    """Change the number of workers."""

    workers: int


class Reload(Request):
    """Do what SIGHUP does, and say what came of it."""


class Limits(Request):
    """Say how many are let in, and how fast; or change it.

    Attributes:
        set: New values by the names of the options, each as the command line takes it: ``{"max_per_peer": "15"}``. They
            hold until the end, or until the configuration says something else than it does now.
        service: Of this service alone.
    """

    set: dict[str, str] = {}
    service: str | None = None


class LogLevel(Request):
    """Write the log from this level on; without one, say which it is."""

    level: str | None = None


class Stacks(Request):
    """Say where every handler, task and thread is."""


AnyRequest = (
    Status | Workers | Connections | Kick | Drain | Stop | Scale | Reload | Limits | LogLevel | Stacks  # the tags
)


class Row(msgspec.Struct):
    """One connection.

    Attributes:
        id: By which it is kicked.
        worker: The process that has it.
        service: Whose it is.
        peer: Who is at the other end.
        local: The address at this end.
        state: Between its first and its last byte, where it is.
        age_s: For how long it has been there.
        idle_s: For how long nothing has moved; 0 while a message is at work.
        messages_in: Messages that came.
        messages_out: Messages that were taken to be sent.
        bytes_in: Bytes that came.
        bytes_out: Bytes that went.
        queued_bytes: Bytes that wait for the peer to read.
        tls: The version that is spoken; None for none.
    """

    id: int
    worker: int
    service: str
    peer: str
    local: str
    state: str
    age_s: float
    idle_s: float
    messages_in: int
    messages_out: int
    bytes_in: int
    bytes_out: int
    queued_bytes: int
    tls: str | None


class Answer(msgspec.Struct, omit_defaults=True):
    """A line of an answer.

    Attributes:
        id: The request's.
        ok: Whether it was done. Always said in the last line.
        more: Whether another line of the same answer follows.
        rows: Of an answer with rows, some of them.
        result: What was asked for.
        error: Why it was not done.
    """

    id: int | str | None = None
    ok: bool | None = None
    more: bool = False
    rows: list[Any] = []
    result: Any = None
    error: str | None = None


def read_request(text: str) -> AnyRequest:
    """Read a request that a supervisor passes on to its worker, which has read it before."""
    found: AnyRequest = msgspec.json.decode(text, type=AnyRequest)
    return found


def request_codec() -> JsonLines[Any]:
    """Return the codec by which a server reads."""
    return JsonLines(type=AnyRequest, max_frame_bytes=_MAX_LINE_BYTES)


def answer_codec() -> JsonLines[Any]:
    """Return the codec by which a client reads."""
    return JsonLines(type=Answer, max_frame_bytes=_MAX_LINE_BYTES)
