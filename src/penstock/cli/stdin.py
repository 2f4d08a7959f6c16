"""Standard input for an event loop."""

import asyncio
import contextlib
import os
import threading
from typing import Final

from ..errors import PenstockError

READ_BYTES: Final = 64 * 1024


class InputReader:
    """Reads a descriptor as its bytes come, without blocking the loop.

    The descriptor's mode is not touched: a terminal's is shared with standard output and with the shell, and a
    non-blocking one fails in the next program that uses it.

    Args:
        fd: What to read: standard input.
    """

    def __init__(self, fd: int = 0) -> None:
        self._fd = fd

    async def read(self) -> bytes:
        """Return what there is, as soon as there is something; nothing at the end.

        Raises:
            PenstockError: It cannot be read.

        Cancelling is safe: nothing was taken, except on platforms whose loop cannot watch a file (Windows).
        """
        loop = asyncio.get_running_loop()
        while True:
            ready: asyncio.Future[bytes | PenstockError | None] = loop.create_future()
            try:
                loop.add_reader(self._fd, _settle, ready, None)
            except PermissionError:
                # A regular file, /dev/null: epoll refuses what is always ready. See epoll_ctl(2), EPERM.
                await asyncio.sleep(0)
            except NotImplementedError:
                return await self._read_in_thread(loop, ready)
            else:
                try:
                    await ready
                finally:
                    loop.remove_reader(self._fd)
            # Somebody else may have made it non-blocking, or have taken what there was.
            with contextlib.suppress(BlockingIOError):
                return self._take()

    def _take(self) -> bytes:
        try:
            return os.read(self._fd, READ_BYTES)
        except BlockingIOError:
            raise
        except OSError as error:
            raise PenstockError(f"cannot read standard input: {(error.strerror or str(error)).lower()}") from error

    async def _read_in_thread(
        self, loop: asyncio.AbstractEventLoop, ready: "asyncio.Future[bytes | PenstockError | None]"
    ) -> bytes:
        def run() -> None:
            result: bytes | PenstockError
            try:
                result = self._take()
            except PenstockError as error:
                result = error
            with contextlib.suppress(RuntimeError):  # the loop is closed: no reader waits any more
                loop.call_soon_threadsafe(_settle, ready, result)

        # A daemon, and no executor: a read that never returns must not keep the process.
        threading.Thread(target=run, name="penstock-input", daemon=True).start()
        result = await ready
        if isinstance(result, bytes):
            return result
        assert result is not None
        raise result


def _settle(future: "asyncio.Future[bytes | PenstockError | None]", result: "bytes | PenstockError | None") -> None:
    if not future.done():
        future.set_result(result)
