"""A Ctrl-C that comes while a handler works is the process's: it ends the loop, not that handler's connection alone."""

import asyncio
import signal
import socket

import pytest

import penstock
from penstock.core.events import EventName


@pytest.mark.engines("pure", "uvloop", "native", "attached")
@pytest.mark.parametrize("is_async", [False, True], ids=["def", "async"])
def test_a_signal_in_a_handler_ends_the_loop(engine, is_async):
    """KeyboardInterrupt leaves the loop; run on to stop the server, it ends the connection, once."""
    ends = []

    class Watcher:
        def observe(self, event):
            if event.name in (EventName.CLOSED, EventName.HANDLER_FAILED):
                ends.append(str(event.name))

    def handle(message):
        signal.raise_signal(signal.SIGINT)
        return message

    async def handle_async(message):
        return handle(message)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    loop = engine.loop_factory()
    try:
        service = penstock.on_message(handle_async if is_async else handle)
        server = penstock.serve(service, bind="tcp://127.0.0.1:0", engine=engine.name, observers=[Watcher()])
        loop.run_until_complete(server.start())
        with socket.create_connection(("127.0.0.1", int(server.addresses[0].rpartition(":")[2]))) as peer:
            peer.sendall(b"a\n")
            with pytest.raises(KeyboardInterrupt):
                loop.run_until_complete(asyncio.sleep(20))
            loop.run_until_complete(server.stop())
    finally:
        signal.signal(signal.SIGINT, before)
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()

    assert ["closed"] == ends
