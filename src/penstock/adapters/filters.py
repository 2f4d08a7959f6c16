"""A long-lived program that answers each line with one: as filters of text do, and many a tool with a pipe on it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import PIPE
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from weakref import WeakKeyDictionary

from ..codecs.lines import Lines
from ..core.contract import ConnectionBase
from ..core.handlers import MessageHandler
from ..core.service import Service
from ..errors import BadFrameError, PenstockError
from .programs import command_of
from .without import OF_FILTERS

_OUTPUT: Final = 1  # the descriptor of a program's standard output


class FilterFailedError(PenstockError):
    """The program did not answer a line with a line. It was killed; another one is started for the next line."""


def of_filter(command: str | Sequence[str], name: str) -> Service[bytes]:
    """Make a service of a program that writes a line for each line it reads.

    Raises:
        ApplicationError: The command cannot be split, is empty, or names no program.
    """
    program, words = command_of(command, "filter")
    codec = Lines()
    handler = MessageHandler(
        Filters(program, words, codec.max_frame_bytes).answer, takes_connection=True, is_async=True
    )
    return Service(
        name=name or Path(program).name,
        handler=handler,
        codec=codec,
        datagram=handler,
        written_for="lines of standard input and output",
        without=OF_FILTERS,
    )


class Filters:
    """Processes of one program, no more of them than ``--max-processes``; each has one line at a time.

    Args:
        program: The path of the file that is executed.
        words: What it finds as its arguments. Nothing of a peer's is ever among them.
        max_line_bytes: The longest line that it may answer with.
    """

    def __init__(self, program: str, words: Sequence[str], max_line_bytes: int) -> None:
        self._program = program
        self._words = words
        self._max_line_bytes = max_line_bytes
        self._pools: WeakKeyDictionary[Any, _Pool] = WeakKeyDictionary()

    async def answer(self, conn: ConnectionBase[bytes], line: bytes) -> bytes:
        """Have a process answer a line; wait for one that has nothing to do.

        Raises:
            BadFrameError: It could be read as two lines. It was not written to a process.
            FilterFailedError: It ended, wrote more than a line, or wrote none for ``--timeout-program``.
        """
        if conn.is_datagram:
            line = line.removesuffix(b"\n").removesuffix(b"\r")
        # The answer to what would be a second line could be taken for that to another peer's. Many a program's text
        # files end lines at CR, too.
        if b"\r" in line or b"\n" in line:
            raise BadFrameError("CR or LF in a line: a program could read it as two")
        server = conn.server
        pool = self._pools.get(server)
        if pool is None:
            pool = self._pools[server] = _Pool(server.config.max_processes)
        async with pool.places:
            worker = pool.take() or await self._start(server)
            try:
                async with asyncio.timeout(server.config.program_timeout_s):
                    return await worker.ask(line)
            except TimeoutError:
                worker.fail(f"did not answer within {server.config.program_timeout_s:g} s")
                raise FilterFailedError(f"{self._words[0]} {worker.failed}") from None
            finally:
                pool.give_back(worker)

    async def _start(self, server: Any) -> Worker:
        loop = asyncio.get_running_loop()
        transport, worker = await loop.subprocess_exec(
            lambda: Worker(self._words[0], self._max_line_bytes),
            *self._words,
            executable=self._program,
            stdin=PIPE,
            stdout=PIPE,
            stderr=None,
            start_new_session=True,
        )
        assert isinstance(worker, Worker)
        try:
            server.start_lasting(worker.live(transport), name=f"program {self._words[0]}")
        except BaseException:  # the server stops
            transport.close()
            raise
        return worker


class _Pool:
    """The processes of one server."""

    def __init__(self, most: int) -> None:
        self.places = asyncio.Semaphore(most)
        self._idle: list[Worker] = []

    def take(self) -> Worker | None:
        """Take one that waits for a line, if there is one."""
        while self._idle:
            worker = self._idle.pop()
            if not worker.failed:
                return worker
        return None

    def give_back(self, worker: Worker) -> None:
        """Keep one for the next line, if its last was answered."""
        if worker.waits:
            worker.fail("was not waited for")
        if not worker.failed:
            self._idle.append(worker)


class Worker(asyncio.SubprocessProtocol):
    """One process, of which a line is asked at a time.

    Args:
        name: What errors call it.
        max_line_bytes: The longest line that it may write.

    Attributes:
        failed: What it did that ended it; empty while it is to be used.
    """

    def __init__(self, name: str, max_line_bytes: int) -> None:
        self.failed = ""
        self._name = name
        self._max_line_bytes = max_line_bytes
        self._rest = bytearray()
        self._reply: asyncio.Future[bytes] | None = None
        self._transport: Any = None
        self._exited = asyncio.Event()

    @property
    def waits(self) -> bool:
        """Whether a line has been written to it that it has not answered."""
        return self._reply is not None

    async def ask(self, line: bytes) -> bytes:
        """Write a line; return the line that it answers with.

        Raises:
            FilterFailedError: It did something else.
        """
        self._reply = asyncio.get_running_loop().create_future()
        if self.failed:
            raise FilterFailedError(f"{self._name} {self.failed}")
        self._transport.get_pipe_transport(0).write(line + b"\n")
        answer = await self._reply
        self._reply = None
        return answer

    def fail(self, why: str) -> None:
        """Kill it; who waits for its answer is told. Nothing is asked of it any more."""
        if self.failed:
            return
        self.failed = why
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(FilterFailedError(f"{self._name} {why}"))
        if not self._exited.is_set():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._transport.get_pid(), signal.SIGKILL)

    async def live(self, transport: asyncio.SubprocessTransport) -> None:
        """Wait until it has ended, or the server has stopped: then it is killed."""
        try:
            await self._exited.wait()
        finally:
            self.fail("was stopped with the server")
            await self._exited.wait()
            transport.close()

    # -- what the loop tells -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It runs."""
        self._transport = transport

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """It wrote: the answer, or something that nobody asked for."""
        rest = self._rest
        rest += data
        end = rest.find(b"\n")
        is_asked = self._reply is not None and not self._reply.done()
        if is_asked and max(end, len(rest) - 1) > self._max_line_bytes:
            self.fail(f"wrote a line of more than {self._max_line_bytes} bytes")
        elif is_asked and end < 0:
            return  # the rest of the answer comes
        elif not is_asked or end != len(rest) - 1:
            self.fail("wrote a line that nobody asked for")
        else:
            assert self._reply is not None
            self._reply.set_result(bytes(rest[:end]))
        rest.clear()

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        """It writes no more: no line can be answered."""
        if fd == _OUTPUT:
            self.fail("ended its output")

    def process_exited(self) -> None:
        """It has ended."""
        self._exited.set()
        self.fail("ended")
