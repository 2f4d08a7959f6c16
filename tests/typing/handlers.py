"""What a type checker sees of the public names. Checked by mypy --strict, and run by nobody."""

import asyncio
from typing import Any, assert_type

import penstock
from penstock.codecs import Lines


@penstock.on_message(codec="lines")
def shout(message: bytes) -> bytes:
    return message.upper()


@penstock.on_message
async def later(message: bytes) -> bytes | None:
    return message or None


@penstock.on_message(codec=Lines(max_frame_bytes=100), blocking=True)
def with_connection(conn: penstock.ConnectionBase[bytes], message: bytes) -> None:
    conn.post(message)
    assert_type(conn.try_send(message), bool)
    conn.set_limits(slow_consumer="drop_oldest", write_high_bytes=4096, write_low_bytes=1024)


@penstock.on_connection(codec="lines")
async def conversation(conn: penstock.Connection[bytes]) -> None:
    await conn.send(b"name?")
    assert_type(await conn.receive(), bytes)
    async for message in conn:
        assert_type(message, bytes)


class Sensor(penstock.Handler[bytes]):
    count: int

    def on_connect(self, conn: penstock.ConnectionBase[bytes]) -> None:
        self.count = 0
        conn.set_timeouts(idle_s=None)

    async def on_message(self, conn: penstock.ConnectionBase[bytes], message: bytes) -> bytes:
        self.count += 1
        return message

    def on_close(self, conn: penstock.ConnectionBase[bytes], reason: penstock.CloseReason) -> None:
        assert_type(conn.close_reason, penstock.CloseReason | None)


class Shouting(penstock.Codec[str]):
    """A user's codec: one byte of length, then text."""

    name = "shouting"

    def decode(self, buffer: penstock.Buffer) -> "str | penstock.NeedData":
        if not buffer or len(buffer) < 1 + buffer[0]:
            return penstock.NEED_DATA
        text = buffer[1 : 1 + buffer[0]].decode()
        del buffer[: 1 + buffer[0]]
        return text

    def encode(self, message: str) -> bytes:
        data = message.encode()
        return bytes([len(data)]) + data


async def main() -> None:
    assert_type(shout, penstock.Service[Any])
    async with penstock.serve(Sensor, bind=["tcp://127.0.0.1:0"], backlog=10) as server:
        assert_type(server, penstock.Server)
        async with await penstock.connect(server.addresses[0], codec=Shouting()) as conn:
            await conn.send("hello")
            assert_type(await conn.receive(), str)
            async for message in conn:
                assert_type(message, str)


if __name__ == "__main__":
    asyncio.run(main())
