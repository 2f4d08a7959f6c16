"""What an editor shows of the public names: the type that is inferred where none is written. Checked, never run.

Each line says what both checkers reveal, without the modules of its names.
"""

from dataclasses import dataclass
from typing import reveal_type

import penstock
from penstock.codecs import JsonLines, Lines, Msgpack, Text


@dataclass
class Point:
    x: int
    y: int


@penstock.on_message(codec="lines")
def shout(message: bytes) -> bytes:
    return message.upper()


@penstock.on_message(codec="json-lines")
def move(point: Point) -> Point:
    return point


class Called(penstock.Handler[Point]):
    def on_message(self, conn: penstock.ConnectionBase[Point], message: Point) -> None:
        reveal_type(conn.peer)  # shows: Peer


reveal_type(Lines())  # shows: Lines
reveal_type(Text())  # shows: Text
reveal_type(JsonLines(type=Point))  # shows: JsonLines[Point]
reveal_type(Msgpack(type=list[int]))  # shows: Msgpack[list[int]]
reveal_type(penstock.App(state=Point(1, 2)).state)  # shows: Point
reveal_type(penstock.App().group("lobby"))  # shows: Group[Any]
reveal_type(shout)  # shows: FunctionService[bytes, bytes]
reveal_type(move)  # shows: FunctionService[Point, Point]


async def conversation() -> None:
    reveal_type(penstock.serve(shout, max_connections=5))  # shows: Server
    async with await penstock.connect("tcp://[::1]:9", codec="lines") as conn:
        reveal_type(await conn.receive())  # shows: bytes
    async with await penstock.connect("tcp://[::1]:9", codec="text") as texts:
        reveal_type(await texts.receive())  # shows: str
    async with await penstock.connect("tcp://[::1]:9", codec=JsonLines(type=Point)) as points:
        reveal_type(points)  # shows: Connection[Point]
        async for point in points:
            reveal_type(point)  # shows: Point
    async with penstock.Client("tcp://[::1]:9", codec=Msgpack(type=Point)) as client:
        reveal_type(await client.request(Point(1, 2)))  # shows: Point
