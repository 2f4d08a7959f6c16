"""What a type checker sees of the public names. Checked by mypy --strict, and run by nobody."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TypedDict, assert_type

import msgspec

import penstock
from penstock.codecs import Duplex, Gap, JsonLines, LengthPrefixed, Lines, Varint


@penstock.on_message(codec="lines")
def shout(message: bytes) -> bytes:
    return message.upper()


@penstock.on_message(codec="text", timeout_idle="1h", timeout_first_message=None)
def patient(message: str) -> str:
    return message


@penstock.on_message
async def later(message: bytes) -> bytes | None:
    return message or None


@penstock.on_message(codec=Lines(max_frame_bytes=100), blocking=True)
def with_connection(conn: penstock.ConnectionBase[bytes], message: bytes) -> None:
    conn.post(message)
    conn.post(message, on_full="latest", key=("a", 1))
    conn.post_frame(conn.frame(message), on_full="drop")
    assert_type(conn.try_send(message), bool)
    conn.set_limits(slow_consumer="drop_oldest", write_high_bytes=4096, write_low_bytes=1024)


@penstock.on_message(codec=Duplex(Lines(), Varint()))
def by_direction(line: bytes) -> bytes:
    return line


@penstock.on_message(codec=Varint(offset=1, header="split"))
def split(message: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    assert_type(LengthPrefixed(header="keep"), LengthPrefixed[bytes])
    assert_type(LengthPrefixed(header="split"), LengthPrefixed[tuple[bytes, bytes]])
    return message


@penstock.on_connection(codec="lines")
async def conversation(conn: penstock.Connection[bytes]) -> None:
    await conn.send(b"name?")
    assert_type(await conn.receive(), bytes)
    assert_type(await conn.receive_exactly(4, timeout_s=1, max_bytes=10), bytes)
    assert_type(await conn.receive_until(b"\0", 100, 1.0), bytes)
    await conn.send_raw(b"x")
    async for message in conn:
        assert_type(message, bytes)


@dataclass
class Point:
    x: int
    y: int


fleet = penstock.App("fleet", timeout_idle="5m", timeouts={"write": "10s"}, state=Point(0, 0))
assert_type(fleet.state, Point)
assert_type(penstock.App().state, penstock.State)


@fleet.lifespan
async def opened(app: penstock.App[Point]) -> AsyncIterator[None]:
    app.task(asyncio.sleep(1))
    yield


@fleet.on_message(codec="text", bind="unix:x", drain_after="device", limits={"write_max": "2MiB"})
def admin(conn: penstock.ConnectionBase[str], line: str) -> str:
    conn.task(asyncio.sleep(1), name="sleeper").cancel()
    return line


@fleet.on_connection(codec="lines", timeout_idle=5.0)
async def device(conn: penstock.Connection[bytes]) -> None:
    await conn.send(await conn.receive())


@fleet.on_connection(codec="lines", name="lobby")
async def lobby(conn: penstock.Connection[bytes]) -> None:
    group: penstock.Group[bytes] = penstock.Group()
    async with group.join(conn) as joined:
        assert_type(joined.publish(b"x", exclude=conn, on_slow="latest", key="a").here, int)
    devices: penstock.Registry[penstock.Connection[bytes]] = penstock.Registry()
    async with devices.hold("7", conn) as held:
        assert_type(held, penstock.Connection[bytes])
    assert_type(devices.get("7"), penstock.Connection[bytes] | None)


async def tested() -> None:
    async with fleet.test() as t, penstock.serve(fleet, services={"admin": {"backlog": 5}}) as server:
        assert_type(server, penstock.AppServer)
        assert_type(t["admin"], penstock.Server)
        await (await t.connect("device")).send(b"x")


class Get(msgspec.Struct, tag=True):
    key: str


class Put(msgspec.Struct, tag=True):
    key: str
    value: int


class Reply(TypedDict):
    value: int


@penstock.on_message(codec="json-lines")
def mirrored(point: Point) -> Point:
    return Point(point.y, point.x)


@penstock.on_message(codec="json-lines")
async def command(conn: penstock.ConnectionBase[Get | Put], message: Get | Put) -> Reply | None:
    match message:
        case Get():
            return {"value": 1}
        case Put(value=value):
            return {"value": value}


@penstock.on_message(codec="msgpack")
def total(message: list[int]) -> int:
    return sum(message)


@penstock.on_message(codec=JsonLines(type=Point))
def shown(point: Point) -> str:  # a reply may be anything that JSON can say
    return f"{point.x}, {point.y}"


@penstock.on_message(codec=JsonLines())
def anything(message: int | Point) -> int:
    return 1


@penstock.on_message(codec="text")
def greet(message: str) -> str:
    return f"hello {message}"


@penstock.on_connection(codec="json-lines")
async def points(conn: penstock.Connection[Point]) -> None:
    assert_type(await conn.receive(), Point)


@penstock.on_connection(codec="text")
def in_a_thread(conn: penstock.BlockingConnection[str]) -> None:
    for line in conn:
        assert_type(line, str)
        conn.send(line)
        assert_type(conn.receive_exactly(4, 1.0), bytes)
        assert_type(conn.receive_until(b"\0", max_bytes=100), bytes)
        conn.send_raw(b"x")


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

    def on_bad_message(self, conn: penstock.ConnectionBase[bytes], error: penstock.RemoteProtocolError) -> bytes:
        conn.close(detail="bad login")
        return str(error).encode()

    async def on_idle(self, conn: penstock.ConnectionBase[bytes]) -> bool:
        return conn.bytes_in > 0

    def on_eof(self, conn: penstock.ConnectionBase[bytes]) -> None:
        conn.task(asyncio.sleep(1), finish=True)

    async def on_drain(self, conn: penstock.ConnectionBase[bytes]) -> None:
        conn.post(b"going down")

    def on_protocol_error(self, conn: penstock.ConnectionBase[bytes], error: penstock.RemoteProtocolError) -> None:
        assert_type(error.reason, penstock.CloseReason)


def complain(conn: penstock.ConnectionBase[str], error: penstock.RemoteProtocolError) -> str:
    return str(error)


@penstock.on_message(codec="text", on_bad_message=complain)
def noted(message: str) -> str:
    return message


@penstock.on_connection(codec="text", on_bad_message="skip")
async def warned(conn: penstock.Connection[str]) -> None:
    await conn.wait_draining()
    await conn.send("going down")


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


def named_in_an_answer(answer: Point) -> int:
    return answer.x


async def clients(address: str) -> None:
    assert_type(penstock.Client(address), penstock.Client[bytes])
    assert_type(penstock.Client(address, codec="text", queue_max=9), penstock.Client[str])
    assert_type(penstock.Pool(address, codec="lines", size=2), penstock.Pool[bytes])
    assert_type(penstock.Pool(address, codec="gap"), penstock.Pool[bytes])
    assert_type(penstock.Pool(address, codec=Gap(quiet_s=0.02)), penstock.Pool[bytes])
    assert_type(penstock.Pool(address, codec=JsonLines(type=Point)), penstock.Pool[Point])
    client = penstock.Client(
        address, codec=JsonLines(type=Point), request_id=named_in_an_answer, reply_id=named_in_an_answer
    )
    assert_type(client, penstock.Client[Point])
    assert_type(await client.request(Point(1, 2)), Point)


def options() -> penstock.ServerOptions:
    return {"bind": ["unix:a.sock", "tcp://127.0.0.1:0"], "model": "threads", "write_max": "2MiB", "accept_rate": "9/s"}


async def main() -> None:
    penstock.serve(shout, codec="raw", **options())
    assert_type(mirrored, penstock.FunctionService[Point, Point])
    assert_type(total([1]), int)
    assert_type(greet("you"), str)
    assert_type(JsonLines(type=Point), JsonLines[Point])
    assert_type(shout, penstock.FunctionService[bytes, bytes])
    assert_type(shout(b"x"), bytes)
    async with penstock.serve(Sensor, host="127.0.0.1", port=0, timeout_idle="5m", max_connections=5) as server:
        assert_type(server, penstock.Server)
        async with await penstock.connect(server.addresses[0], codec=Shouting()) as conn:
            await conn.send("hello")
            assert_type(await conn.receive(), str)
            async for message in conn:
                assert_type(message, str)


if __name__ == "__main__":
    asyncio.run(main())
