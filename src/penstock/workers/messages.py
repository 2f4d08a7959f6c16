"""What a supervisor and its workers say to each other, each message a line of JSON.

A roll starts workers of newer code under a supervisor of older code. So fields may be added, with defaults, and what is
not known is skipped; a change that the other end has to know of raises `VERSION`, and a worker of another version says
so and ends.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

VERSION: Final = 1

# So long a worker may hand connections over, waits for its successor included; what is left then drains.
HANDOVER_S: Final = 60.0


class Message(msgspec.Struct, tag_field="say", tag=str.lower, frozen=True, omit_defaults=True):
    """One message.

    Attributes:
        descriptors: How many descriptors come with it.
    """

    descriptors: int = 0


# -- from the supervisor -----------------------------------------------------------------------------------------------


class File(msgspec.Struct, frozen=True):
    """The configuration file, as it was read for the worker's generation."""

    path: str
    directory: str
    text: str


class Begin(Message, frozen=True, kw_only=True):
    """The first message: what the worker is, and how it is configured.

    Attributes:
        version: `VERSION` of the supervisor.
        slot: Which of the workers it is, from 1 on.
        generation: How often the workers were replaced by a roll.
        warns: Whether it is the one that says what is doubtful about its configuration.
        file: The configuration file; None for none.
        inherited: The sockets that were handed down to the supervisor: number and name.
        silence_s: After how much silence it is killed.
        workers: How many there are to be.
        counts_together: Whether the workers count together: `Count` is answered.
        number: How many workers were started before it, by this supervisor and by those before it.
        introduces: Whether the workers get to know each other: `Meet` is answered.
    """

    version: int
    slot: int
    generation: int
    warns: bool = True
    file: File | None = None
    inherited: list[tuple[int, str]] = []
    silence_s: float | None = None
    workers: int = 1
    counts_together: bool = False
    number: int = 0
    introduces: bool = False


class OpenedSocket(msgspec.Struct, frozen=True):
    """A listener that comes as a descriptor: what `Listener` says of it, and whether it is this worker's alone."""

    requested: str
    address: str
    backlog: int = 0
    name: str = ""
    is_own: bool = False


class Opened(Message, frozen=True, kw_only=True):
    """The answer to `Open`: as many descriptors as there are listeners."""

    number: int
    listeners: list[OpenedSocket]


class NotOpened(Message, frozen=True, kw_only=True):
    """The other answer to `Open`: it fails with this error.

    Attributes:
        number: Of the request.
        error: The name of the class in `penstock.errors`.
        arguments: What it is made of.
    """

    number: int
    error: str
    arguments: list[Any]


class Counted(Message, frozen=True, kw_only=True):
    """The answer to `Count`, with two descriptors: the memory, and what wakes those who wait for a place.

    Attributes:
        number: Of the request.
        cell: Which of the cells of the memory is this worker's.
    """

    number: int
    cell: int


class Peer(Message, frozen=True, kw_only=True):
    """Another worker is at the other end of the descriptor: see docs/design/groups-across-workers.md.

    Attributes:
        worker: Its `Begin.number`.
        slot: Its slot.
    """

    worker: int
    slot: int


class Introduced(Message, frozen=True, kw_only=True):
    """The answer to `Meet`: all the others were told of."""

    number: int


class Gone(Message, frozen=True, kw_only=True):
    """Another worker has ended. A child that it has forked may have copies of its sockets, and so keep their end back.

    Attributes:
        worker: Its `Begin.number`.
    """

    worker: int


class HandOver(Message, frozen=True):
    """Have the successor, at the other end of the descriptor, go on with the connections that can move; then drain.

    Attributes:
        closes: As of `Drain`.
    """

    closes: list[tuple[str, str]] = []


class TakeOver(Message, frozen=True):
    """Go on with connections of the worker before, which is at the other end of the descriptor that comes with it."""


class Drain(Message, frozen=True):
    """End in order.

    Attributes:
        last: Whether no other worker goes on with any of its listeners: who has connected there is served before it
            ends.
        closes_own: The same of the listeners that are its alone, while others go on with those they share: there will
            be one worker less.
        closes: The same of those alone that are of these services and addresses: its successor does not listen there,
            and nor does another worker where they are shared.
    """

    last: bool = False
    closes_own: bool = False
    closes: list[tuple[str, str]] = []


class Stop(Message, frozen=True):
    """End at once."""


class Ask(Message, frozen=True, kw_only=True):
    """Answer a request of the control socket.

    Attributes:
        number: Which the answer repeats.
        request: As it is written over that socket.
    """

    number: int
    request: str


# -- from a worker -----------------------------------------------------------------------------------------------------


class Open(Message, frozen=True, kw_only=True):
    """Open these addresses, or hand over the listeners that this worker's slot has on them already."""

    number: int
    service: str
    addresses: list[str]
    backlog: int
    reuse_address: bool
    uds_mode: int
    uds_owner: tuple[int, int] | None = None
    inherited: list[tuple[int, str]] = []


class Waits(Message, frozen=True):
    """A process that is no worker yet has imported what every worker needs, and waits for `Begin`."""


class Count(Message, frozen=True, kw_only=True):
    """Give this worker a cell, to count the connections of a service in."""

    number: int
    service: str


class Meet(Message, frozen=True, kw_only=True):
    """Introduce this worker to the others, and those that come later to it.

    Attributes:
        number: Which the answer repeats.
        worker: Its `Begin.number`.
    """

    number: int
    worker: int


class Apart(Message, frozen=True, kw_only=True):
    """This worker has cut its link to another one, which does not read: introduce the two once more.

    Attributes:
        worker: The number of this one.
        peer: That of the other one.
    """

    worker: int
    peer: int


class Ready(Message, frozen=True, kw_only=True):
    """It serves.

    Attributes:
        name: What it serves.
        addresses: Where.
        banner: What a person is told once all workers serve.
        facts: The same for programs.
        drain_s: How long a drain may take; None for ever.
        handover: The format in which its connections are handed over; 0: none of them are.
    """

    name: str
    addresses: list[str]
    banner: str = ""
    facts: dict[str, Any] = {}
    drain_s: float | None = None
    handover: int = 0


class Beat(Message, frozen=True, kw_only=True):
    """A sign of life of the worker's loop, with its figures at this moment."""

    connections: int
    accepted: int
    messages_in: int
    messages_out: int
    memory_bytes: int | None = None


class Answered(Message, frozen=True, kw_only=True):
    """The answer to `Ask`.

    Attributes:
        number: Of the request.
        pid: Whose answer it is.
        result: As of the control socket, and the following.
        rows: All of them.
        error: Why it was not done.
    """

    number: int
    pid: int
    result: Any = None
    rows: list[Any] = []
    error: str | None = None


class Leaving(Message, frozen=True, kw_only=True):
    """It is to be replaced.

    Attributes:
        why: ``connections``, ``age`` or ``memory``: it serves until its successor is ready. ``told``: by a signal, it
            drains already.
    """

    why: str


class Parted(Message, frozen=True, kw_only=True):
    """It was told to hand its connections over, and is about to end.

    Attributes:
        moved: How many go on in its successor.
        drained: How many have come to their end.
        cut: How many were cut.
    """

    moved: int
    drained: int
    cut: int


class HandedOver(Message, frozen=True):
    """What could move has moved, or the time for that is over: it drains from now on."""


FromSupervisor = (
    Begin | Opened | NotOpened | Counted | Peer | Introduced | Gone | HandOver | TakeOver | Drain | Stop | Ask
)
FromWorker = Waits | Open | Count | Meet | Apart | Ready | Beat | Leaving | Answered | HandedOver | Parted


# -- between supervisors -----------------------------------------------------------------------------------------------


class Kept(Message, frozen=True, kw_only=True):
    """A listener, with its descriptor.

    Attributes:
        service: Whose.
        text: The address as it is configured.
        place: Which of the addresses that this one stands for.
        slot: Whose alone it is; 0 for all.
        listener: What it is.
        file: Path, device and inode of the Unix socket's file.
    """

    service: str
    text: str
    place: int
    slot: int
    listener: OpenedSocket
    file: tuple[str, int, int] | None = None


class KeptCells(Message, frozen=True, kw_only=True):
    """What the workers of a service count in, with its two descriptors: cells from ``first`` on are free."""

    service: str
    first: int


class Succeed(Message, frozen=True, kw_only=True):
    """That is all: start workers.

    Attributes:
        version: `VERSION` of the old supervisor.
        inherited: The sockets that were handed down to it: number and name.
        started: From which number on the new one's workers are numbered.
        introduces: Whether `Meeting` is answered.
    """

    version: int
    inherited: list[tuple[int, str]] = []
    started: int = 0
    introduces: bool = False


class Yours(Message, frozen=True):
    """The answer to `TookOver`: the old supervisor only drains from now on."""


class Arriving(Message, frozen=True, kw_only=True):
    """A worker of the old supervisor is at the other end of the descriptor, and hands its connections over: `TakeOver`.

    Attributes:
        slot: Whose worker is to take them.
    """

    slot: int


class TookOver(Message, frozen=True):
    """All workers of the new supervisor serve.

    Attributes:
        handover: In which format the worker of each slot takes connections over; 0: it does not.
        closes: What the worker of each slot does not listen on, and the worker before is to close, as of `Drain`.
    """

    handover: dict[int, int] = {}
    closes: dict[int, list[tuple[str, str]]] = {}


class Meeting(Message, frozen=True, kw_only=True):
    """A worker of the new supervisor is to know those of the old one.

    Attributes:
        worker: Its `Begin.number`.
        slot: Its slot.
        peer: The only one of them that it is to know, once more; -1 for all.
    """

    worker: int
    slot: int
    peer: int = -1


class Paired(Message, frozen=True, kw_only=True):
    """The answer to `Meeting`, for each of them: it is at the other end of the descriptor.

    Attributes:
        worker: As of `Meeting`.
        peer: Its `Begin.number`.
        slot: Its slot.
    """

    worker: int
    peer: int
    slot: int


FromPredecessor = Kept | KeptCells | Succeed | Yours | Arriving | Paired | Gone
FromSuccessor = TookOver | Meeting | Gone


# -- between a worker and its successor --------------------------------------------------------------------------------


class Offer(Message, frozen=True, kw_only=True):
    """Connections that are held, with as many descriptors: see docs/design/handover.md.

    Attributes:
        at: When they were, on the clock of the machine.
        snapshots: What there is to know of each: `core.handover.snapshot`.
    """

    at: float
    snapshots: list[bytes]


class Taken(Message, frozen=True, kw_only=True):
    """The answer to `Offer`: these are there, and not begun. The others are not taken.

    Attributes:
        ids: Which.
        pid: Whose answer it is.
    """

    ids: list[int]
    pid: int = 0


class Go(Message, frozen=True, kw_only=True):
    """Begin these; leave the others of the offer to the old worker."""

    ids: list[int]


class Started(Message, frozen=True, kw_only=True):
    """The answer to `Go`, written before any of them was begun."""


class Rest(Message, frozen=True, kw_only=True):
    """What was asked for in the old worker while a connection moved.

    Attributes:
        id: Which connection.
        data: Frames to be sent, or the next piece of them.
        more: Whether a further piece follows.
        closes: Whether it is to be closed.
        lost: Why it is to end at once; empty where it is not.
    """

    id: int
    data: bytes = b""
    more: bool = False
    closes: bool = False
    lost: str = ""


class Back(Message, frozen=True):
    """The old worker goes on with all that it has offered and not let go."""


class Over(Message, frozen=True):
    """There will be no further offer."""


FromOldWorker = Offer | Go | Rest | Back | Over
FromNewWorker = Taken | Started
