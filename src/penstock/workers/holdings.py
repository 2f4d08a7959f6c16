"""What the workers of a supervisor share, as they ask for it: listeners, and the memory in which they count."""

from __future__ import annotations

from ..core.shared_counts import KEYS as COUNTED_KEYS
from ..errors import BindError, ConfigurationError
from ..server.inherited import InheritedSocket
from .cells import Cells
from .introductions import Introductions
from .keeper import Keeper
from .mesh.keys import KEYS, SERVICE
from .messages import Count, Counted, Message, NotOpened, Open, Opened, OpenedSocket
from .process import WorkerProcess


class Holdings:
    """Answers workers.

    Args:
        keeper: Keeps the listeners.
        cells: The memory, by service.

    Attributes:
        keeper: The same.
        cells: The same.
        introductions: Has the workers know each other.
    """

    def __init__(self, keeper: Keeper, cells: dict[str, Cells]) -> None:
        self.keeper = keeper
        self.cells = cells
        self.introductions = Introductions()

    def open(self, worker: WorkerProcess, asked: Open) -> None:
        """Open what a worker asks for, and hand it over."""
        inherited = [InheritedSocket(fd, name) for fd, name in asked.inherited]
        try:
            listeners = self.keeper.open(
                worker.slot,
                asked.service,
                asked.addresses,
                backlog=asked.backlog,
                reuse_address=asked.reuse_address,
                uds_mode=asked.uds_mode,
                uds_owner=asked.uds_owner,
                inherited=inherited,
            )
        except (BindError, ConfigurationError) as error:
            worker.send(NotOpened(number=asked.number, error=type(error).__name__, arguments=list(error.args)))
            return
        except OSError as error:
            where = ", ".join(asked.addresses)
            arguments = [where, error.strerror or str(error), error.errno]
            worker.send(NotOpened(number=asked.number, error="BindError", arguments=arguments))
            return
        worker.keys |= {(asked.service, text) for text in asked.addresses}
        sockets = [
            OpenedSocket(
                str(each.requested), str(each.address), each.backlog, each.name, is_own=self.keeper.is_own(each)
            )
            for each in listeners
        ]
        worker.send(Opened(number=asked.number, listeners=sockets), [each.sock.fileno() for each in listeners])

    def count(self, worker: WorkerProcess, asked: Count) -> None:
        """Give a worker a cell."""
        answer: Message
        descriptors: tuple[int, ...]
        try:
            cells = self.cells.get(asked.service)
            if cells is None:
                cells = self.cells[asked.service] = Cells(keys=KEYS if asked.service == SERVICE else COUNTED_KEYS)
            answer, descriptors = Counted(number=asked.number, cell=cells.give(worker.pid)), cells.descriptors
        except OSError as error:
            problem = f"there is no memory to count in: {error.strerror or error}"
            answer, descriptors = NotOpened(number=asked.number, error="LimitError", arguments=[problem]), ()
        worker.send(answer, descriptors)

    @staticmethod
    def refuse(worker: WorkerProcess, asked: Open) -> None:
        """Open nothing for a worker that is not needed: nobody would accept from it."""
        arguments = ["this worker is no longer needed"]
        worker.send(NotOpened(number=asked.number, error="StoppedError", arguments=arguments))

    def take_back(self, worker: WorkerProcess) -> None:
        """Free what a worker that has ended had counted."""
        self.introductions.gone(worker.pid)
        for cells in self.cells.values():
            cells.take_back(worker.pid)

    def close(self) -> None:
        """Give everything back. May be repeated."""
        self.keeper.close()
        for cells in self.cells.values():
            cells.close()
        self.cells.clear()
