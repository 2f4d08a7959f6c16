"""Mistakes that a type checker finds before the program runs. Each line of them says what each of the two calls it.

Read by tests/typing/test_checkers.py, and run by nobody.
"""

from dataclasses import dataclass

import penstock
from penstock.codecs import JsonLines


@dataclass
class Point:
    x: int
    y: int


@dataclass
class Reading:
    celsius: float


@penstock.on_message(codec="json-lines")  # mistake: mypy type-var, pyright reportArgumentType
def decoded_json_is_no_bytes(message: bytes) -> None: ...


@penstock.on_message(codec="lines")  # mistake: mypy type-var, pyright reportArgumentType
def lines_sends_bytes(message: bytes) -> str:
    return message.decode()


@penstock.on_message(codec=JsonLines(type=Point))  # mistake: mypy arg-type, pyright reportArgumentType
def it_was_made_for_points(reading: Reading) -> Reading:
    return reading


def shout(message: bytes) -> bytes:
    return message.upper()


app = penstock.App(state=Point(1, 2))


@app.on_message(codec="lines", bind="unix:x")  # mistake: mypy type-var, pyright reportArgumentType
def a_service_of_an_application(message: bytes) -> str:
    return message.decode()


def published(group: penstock.Group[bytes]) -> None:
    group.publish("text")  # mistake: mypy arg-type, pyright reportArgumentType
    group.publish(b"x", on_slow="wait")  # mistake: mypy arg-type, pyright reportArgumentType


async def misspelt_options() -> None:
    app.state.z = 3  # mistake: mypy attr-defined, pyright reportAttributeAccessIssue
    app.serve(timeout_idel="5m")  # mistake: mypy call-arg, pyright reportCallIssue
    penstock.serve(shout, max_conections=5)  # mistake: mypy call-overload, pyright reportCallIssue
    penstock.on_message(codec="lines", timeout_idel="5m")  # mistake: mypy call-overload, pyright reportCallIssue
    penstock.run(shout, timeout_idel="5m")  # mistake: mypy call-overload, pyright reportCallIssue
    await penstock.connect("tcp://[::1]:9", tiemouts=None)  # mistake: mypy call-overload, pyright reportCallIssue


async def what_a_connection_sends() -> None:
    async with await penstock.connect("tcp://127.0.0.1:9000", codec="lines") as conn:
        await conn.send("hello")  # mistake: mypy arg-type, pyright reportArgumentType


def clients() -> None:
    penstock.Client("tcp://[::1]:9", codec="lines", queue_mx=9)  # mistake: mypy call-overload, pyright reportCallIssue
    penstock.Pool("tcp://[::1]:9", codec="lines", idle=9)  # mistake: mypy call-overload, pyright reportCallIssue
