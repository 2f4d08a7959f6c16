"""A program on its standard input and output, one process for each connection, as inetd and ucspi-tcp run one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import shutil
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from ..core.contract import Connection
from ..core.handlers import ConnectionHandler
from ..core.service import Service
from ..errors import ApplicationError, ConnectionEndedError
from .sockets import CODEC
from .without import OF_PROGRAMS

_READ_BYTES = 65536


def of_program(command: str | Sequence[str], name: str) -> Service[bytes]:
    """Make a service of a program's command line, split as a shell splits words; no shell runs it.

    Raises:
        ApplicationError: The command cannot be split, is empty, or names no program.
    """
    program, words = command_of(command, "exec")
    return Service(
        name=name or Path(program).name,
        handler=ConnectionHandler(Programs(program, words).serve, is_async=True),
        codec=CODEC,
        written_for="standard input and output",
        without=OF_PROGRAMS,
    )


def command_of(command: str | Sequence[str], kind: str) -> tuple[str, list[str]]:
    """Return the path of the program that a command line names, and its words.

    Raises:
        ApplicationError: The command cannot be split, is empty, or names no program.
    """
    try:
        words = shlex.split(command) if isinstance(command, str) else list(command)
    except ValueError as error:
        raise ApplicationError(f"cannot split the command {command!r} into words: {error}") from error
    if not words or not all(isinstance(word, str) for word in words):
        raise ApplicationError(f"--as {kind} wants the command line of a program")
    program = shutil.which(words[0])
    if program is None:
        raise ApplicationError(f"there is no program {words[0]!r} that can be executed")
    return program, words


class Programs:
    """One process for each connection, no more of them at once than ``--max-processes``: other connections wait.

    Args:
        program: The path of the file that is executed.
        words: What it finds as its arguments, its own name first. Nothing of a peer's is ever among them.
    """

    def __init__(self, program: str, words: Sequence[str]) -> None:
        self._program = program
        self._words = words
        self._places: WeakKeyDictionary[Any, asyncio.Semaphore] = WeakKeyDictionary()

    async def serve(self, conn: Connection[bytes]) -> None:
        """Run the program for one connection. It is killed, with its children, when the connection ends before it."""
        server = conn.server
        places = self._places.get(server)
        if places is None:
            places = self._places[server] = asyncio.Semaphore(server.config.max_processes)
        held = False
        try:
            async with conn.while_open(at_eof=False):
                await places.acquire()
                held = True
            if held and conn.close_reason is None:
                await self._run(conn)
        finally:
            if held:
                places.release()

    async def _run(self, conn: Connection[bytes]) -> None:
        process = await asyncio.create_subprocess_exec(
            *self._words,
            executable=self._program,
            stdin=PIPE,
            stdout=PIPE,
            env=os.environ | environment(conn),
            start_new_session=True,
        )
        feeding = asyncio.get_running_loop().create_task(_feed(conn, process))
        ended = False
        try:
            async with conn.while_open(at_eof=False):
                await _answer(conn, process)
                await process.wait()
                ended = True
        except ConnectionEndedError:
            pass  # `close_reason` says why
        finally:
            feeding.cancel()
            # The number of one that has ended may be another's by now.
            if not ended and process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            if not ended:
                await process.wait()
            process._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001  # its pipes, which a child may hold


async def _feed(conn: Connection[bytes], process: Process) -> None:
    """Hand the program what the peer sends; its input ends with the peer's, or when the server drains."""
    stdin = process.stdin
    assert stdin is not None
    # That the program reads no more, or that the connection is gone, shows at the other end.
    with contextlib.suppress(ConnectionEndedError, ConnectionError):
        async for data in conn:
            stdin.write(data)
            await stdin.drain()
    stdin.close()


async def _answer(conn: Connection[bytes], process: Process) -> None:
    """Send what the program writes until it writes no more."""
    stdout = process.stdout
    assert stdout is not None
    while data := await stdout.read(_READ_BYTES):
        await conn.send(data)
    conn.send_eof()


def environment(conn: Connection[bytes]) -> dict[str, str]:
    """Return what a program is told of its connection: ucspi-tcp's and ucspi-unix's variables, and inetd's."""
    peer, local = conn.peer, conn.local
    if peer.port is None:  # a Unix socket's, be it one that a proxy speaks for
        found = {"PROTO": "UNIX"}
        if local.is_unix:
            found["UNIXLOCALPATH"] = local.path
        numbers = (("UNIXREMOTEPID", peer.pid), ("UNIXREMOTEEUID", peer.uid), ("UNIXREMOTEEGID", peer.gid))
        return found | {name: str(number) for name, number in numbers if number is not None}
    host, port = peer.sockname[:2]
    found = {
        "PROTO": "TCP",
        "TCPREMOTEIP": host,
        "TCPREMOTEPORT": str(port),
        "REMOTE_ADDR": host,
        "REMOTE_PORT": str(port),
    }
    if not local.is_unix:
        found |= {"TCPLOCALIP": local.host, "TCPLOCALPORT": str(local.port)}
    return found
