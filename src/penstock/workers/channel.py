"""Messages over a pair of sockets: lines of JSON, with descriptors beside them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

import msgspec

from .messages import Message

M = TypeVar("M", bound=Message)

_READ_BYTES: Final = 64 * 1024
# SCM_MAX_FD of Linux: with more in one call the kernel refuses all.
_MOST_DESCRIPTORS: Final = 253
# A configuration file has a mebibyte at most, which is twice as much as text in JSON in the worst case.
_MOST_BYTES: Final = 16 * 1024 * 1024

_logger: Final = logging.getLogger("penstock")


class ChannelError(Exception):
    """What came is no message."""


class Channel(Generic[M]):
    """One end. Before `attach` it blocks; after it nothing waits, and what the other end does not read yet is kept.

    Args:
        sock: A stream socket of the Unix family, of which this is the owner.
        kind: The messages that come.

    Attributes:
        failure: Why this end was closed though the other one is there; None where it is not.
    """

    def __init__(self, sock: socket.socket, kind: object) -> None:
        self.failure: Exception | None = None
        self._sock = sock
        self._decoder = msgspec.json.Decoder(kind)
        self._encoder = msgspec.json.Encoder()
        self._input = bytearray()
        self._descriptors: deque[int] = deque()
        self._output: deque[tuple[bytes, tuple[int, ...]]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._heard: Callable[[M, list[int]], object] | None = None
        self._ended: Callable[[], object] | None = None
        self._is_writing = False
        self._flushed: list[Callable[[], object]] = []

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._sock.fileno()

    def attach(
        self,
        loop: asyncio.AbstractEventLoop,
        heard: Callable[[M, list[int]], object],
        ended: Callable[[], object],
    ) -> None:
        """Have messages told by the loop.

        Args:
            loop: The running loop.
            heard: Called with each message and its descriptors, which are the callee's from then on.
            ended: Called once, when the other end is gone or says what is no message.
        """
        self._sock.setblocking(False)
        self._loop, self._heard, self._ended = loop, heard, ended
        loop.add_reader(self._sock, self._readable)

    def receive(self) -> tuple[M, list[int]] | None:
        """Wait for one message, before `attach`; None when the other end is gone.

        Raises:
            ChannelError: What comes is no message.
        """
        while (found := self._take()) is None:
            if not self._read():
                return None
        return found

    def send(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Send a message; what the other end does not take now is sent later. Nothing happens when it is gone.

        Args:
            message: What to say.
            descriptors: What to hand over with it. They may be closed when this returns.

        Raises:
            OSError: The system lacks something. The message was not sent.
        """
        if self._sock.fileno() < 0:
            return
        assert len(descriptors) <= _MOST_DESCRIPTORS
        message = msgspec.structs.replace(message, descriptors=len(descriptors))
        data = self._encoder.encode(message) + b"\n"
        if not self._output:
            data, descriptors = self._write(data, descriptors)
        if data:
            self._output.append((data, _copies(descriptors)))
            self._watch_output()

    def when_flushed(self, then: Callable[[], object]) -> None:
        """Call ``then`` once the kernel has all that was sent: now, as a rule. Never, if this end is closed before."""
        if self._output:
            self._flushed.append(then)
        else:
            then()

    def close(self) -> None:
        """Close this end. May be repeated."""
        if self._sock.fileno() < 0:
            return
        if self._loop is not None:
            self._loop.remove_reader(self._sock)
            if self._is_writing:
                self._loop.remove_writer(self._sock)
        self._sock.close()
        for _, descriptors in self._output:
            _close_all(descriptors)
        _close_all(self._descriptors)
        self._output.clear()
        self._flushed.clear()
        self._descriptors.clear()

    def hear(self) -> None:
        """Have what has come by now told, after `attach`."""
        if self._sock.fileno() >= 0:
            self._readable()

    # -- reading -------------------------------------------------------------------------------------------------------

    def _readable(self) -> None:
        assert self._heard is not None
        assert self._ended is not None
        is_open = True
        try:
            while is_open and self._sock.fileno() >= 0:
                is_open = self._read()
                while self._sock.fileno() >= 0 and (found := self._take()) is not None:
                    self._heard(*found)
        except BlockingIOError:
            return
        except ChannelError as error:
            self._fail(error)
            return
        if not is_open and self._sock.fileno() >= 0:
            self.close()
            self._ended()

    def _fail(self, error: Exception) -> None:
        """Go no further: what was said, or is to be said, is lost."""
        assert self._ended is not None
        _logger.error("a channel to another process ends early: %s", error)
        self.failure = error
        if self._sock.fileno() >= 0:
            self.close()
            self._ended()

    def _read(self) -> bool:
        """Read what there is; False at the end."""
        try:
            data, descriptors, flags, _ = socket.recv_fds(self._sock, _READ_BYTES, _MOST_DESCRIPTORS)
        except ConnectionError:
            return False
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)  # recv_fds does not ask for MSG_CMSG_CLOEXEC
        self._descriptors += descriptors
        self._input += data
        if flags & socket.MSG_CTRUNC:
            raise ChannelError("descriptors were lost: the process may have no more, see `ulimit -n`")
        if len(self._input) > _MOST_BYTES:
            raise ChannelError("a message is too long")
        return bool(data)

    def _take(self) -> tuple[M, list[int]] | None:
        end = self._input.find(b"\n")
        if end < 0:
            return None
        line = bytes(self._input[:end])
        del self._input[: end + 1]
        try:
            message: M = self._decoder.decode(line)
        except msgspec.DecodeError as error:
            raise ChannelError(str(error)) from error
        if message.descriptors > len(self._descriptors):
            raise ChannelError("descriptors are missing")
        return message, [self._descriptors.popleft() for _ in range(message.descriptors)]

    # -- writing -------------------------------------------------------------------------------------------------------

    def _write(self, data: bytes, descriptors: Sequence[int]) -> tuple[bytes, Sequence[int]]:
        """Write; return what is left of it. Blocks before `attach`."""
        is_begun = False
        while data:
            try:
                # The descriptors travel with the first byte.
                written = (
                    socket.send_fds(self._sock, [data], list(descriptors)) if descriptors else self._sock.send(data)
                )
            except BlockingIOError:
                break
            except ConnectionError:  # the other end is gone, which the reader is told of
                return b"", ()
            except OSError:
                if descriptors or not is_begun:
                    raise
                break  # half of a message is said: the rest follows
            data, descriptors, is_begun = data[written:], (), True
        return data, descriptors

    def _watch_output(self) -> None:
        if not self._is_writing:
            assert self._loop is not None, "before that it blocks"
            self._is_writing = True
            self._loop.add_writer(self._sock, self._writable)

    def _writable(self) -> None:
        while self._output:
            data, descriptors = self._output[0]
            try:
                left, rest = self._write(data, descriptors)
            except OSError as error:
                self._fail(error)
                return
            if len(rest) < len(descriptors):
                _close_all(descriptors)
                descriptors = ()
            if left:
                self._output[0] = left, descriptors
                return
            self._output.popleft()
        assert self._loop is not None
        self._is_writing = False
        self._loop.remove_writer(self._sock)
        flushed, self._flushed = self._flushed, []
        for then in flushed:
            then()


def _copies(descriptors: Sequence[int]) -> tuple[int, ...]:
    copies: list[int] = []
    try:
        copies.extend(os.dup(descriptor) for descriptor in descriptors)  # those that there are, should one fail
    except OSError:
        _close_all(copies)
        raise
    return tuple(copies)


def _close_all(descriptors: Sequence[int] | deque[int]) -> None:
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptor)
