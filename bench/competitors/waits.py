"""What a handler may wait for, before it answers: the same for Penstock and for what it is compared with."""

import asyncio


async def done() -> None:
    """Await a future that is done."""
    future = asyncio.get_running_loop().create_future()
    future.set_result(None)
    await future


async def turn() -> None:
    """Await a turn of the loop."""
    await asyncio.sleep(0)


async def executor() -> None:
    """Await a function that is called in a thread."""
    await asyncio.get_running_loop().run_in_executor(None, int)


WAITS = {"done": done, "turn": turn, "executor": executor}
