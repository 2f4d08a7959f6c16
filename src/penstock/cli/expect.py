"""What ``penstock send --expect`` looks for in the replies, in bounded time.

A regular expression of Python's can take for ever over a few bytes that a peer chose, and a thread that is in it can
neither be ended nor hear Ctrl-C. So one that can is matched by a process, which can be ended.
"""

import asyncio
import os
import re
import struct
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from typing import Final, Self

from ..errors import ConfigurationError, PenstockError

# Without repetition and alternation nothing is tried twice.
_PLAIN: Final = re.compile(rb"[^*+?{|]*")

# Reads texts, each after its length, and answers each with one byte. No package is imported, so it starts in 15 ms.
# Whatever becomes of its parent, it ends: at Ctrl-C, when there is nothing to read, and when its time is over.
_PROGRAM: Final = """
import re, signal, struct, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
if len(sys.argv) > 1 and hasattr(signal, "setitimer"):
    signal.setitimer(signal.ITIMER_REAL, float(sys.argv[1]))
source, answers = sys.stdin.buffer, sys.stdout.buffer
pattern = re.compile(source.read(*struct.unpack("!Q", source.read(8))))
while size := source.read(8):
    answers.write(b"01"[pattern.search(source.read(*struct.unpack("!Q", size))) is not None :][:1])
    answers.flush()
"""


class Expectation:
    """A regular expression that replies are searched for. Used as ``async with``, which ends its process.

    Args:
        text: As the user wrote it.
        within_s: How long the process lives at most, in seconds; None for as long as it is needed.

    Raises:
        ConfigurationError: It is none.
    """

    def __init__(self, text: str, within_s: float | None) -> None:
        self.text = text
        self._within_s = within_s
        self._source = os.fsencode(text)
        try:
            self._pattern = re.compile(self._source)
        except (re.error, RecursionError, OverflowError) as error:
            raise ConfigurationError(f"{text!r} is not a valid regular expression: {error}", "--expect") from None
        self._process: Process | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        process, self._process = self._process, None
        if process is not None:
            if process.returncode is None:
                process.kill()
            await process.communicate()  # so that its pipes are closed, too

    async def is_met_by(self, reply: bytes) -> bool:
        """Say whether a reply has a match in it.

        Cancelling ends the search; then it is not to be asked again.

        Raises:
            PenstockError: The process cannot be started, or was ended by somebody else.
        """
        if _PLAIN.fullmatch(self._source):
            return self._pattern.search(reply) is not None
        if self._process is None:
            self._process = await self._start()
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        try:
            stdin.write(struct.pack("!Q", len(reply)) + reply)
            await stdin.drain()
            return await stdout.readexactly(1) == b"1"
        except (asyncio.IncompleteReadError, ConnectionError):
            raise PenstockError(f"the process that looks for {self.text!r} was ended") from None

    async def _start(self) -> Process:
        limit = [] if self._within_s is None else [str(self._within_s)]
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-I", "-S", "-c", _PROGRAM, *limit, stdin=PIPE, stdout=PIPE, stderr=DEVNULL
            )
        except OSError as error:
            problem = (error.strerror or str(error)).lower()
            raise PenstockError(f"cannot start the process that looks for {self.text!r}: {problem}") from error
        assert process.stdin is not None
        process.stdin.write(struct.pack("!Q", len(self._source)) + self._source)
        return process
