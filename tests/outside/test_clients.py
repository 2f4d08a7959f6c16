"""The clients of the tutorials, which end no message, are served by the services with their default options."""

import re
import time

import pytest

pytestmark = pytest.mark.outside

# As ctime(3) writes it.
CTIME = r"\[\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}\]"


def test_one_to_one(service, client):
    """What is typed a while apart is printed line by line, and never glued together."""
    printing = service("print")
    talk = client("talk", printing)
    for word in ("hello", "i am 1"):
        talk.type(word)
        assert re.fullmatch(rf"127\.0\.0\.1:\d+: {word}", printing.line())
    talk.type("bye")
    assert re.fullmatch(r"127\.0\.0\.1:\d+: bye", printing.line())
    talk.type("exit")

    assert ["sent hello", "sent i am 1", "sent bye"] == talk.lines()


def test_a_message_and_the_end_at_once(service, client):
    """The end of the stream ends the message: nobody waits."""
    printing = service("print", "--once")
    talk = client("talk", printing)
    talk.type("hello")
    talk.type("exit")

    assert ["sent hello"] == talk.lines()
    assert re.fullmatch(r"127\.0\.0\.1:\d+: hello", printing.line())
    assert [] == printing.lines()


def test_one_to_many(service, client):
    """Two clients at once, each with its own name."""
    printing = service("print")
    one, two = client("talk", printing), client("talk", printing)
    names = set()
    for talk, word in ((one, "hello"), (two, "i am 2"), (one, "i am 1")):
        talk.type(word)
        name, _, said = printing.line().partition(": ")
        names.add(name)
        assert word == said

    assert 2 == len(names)


@pytest.mark.parametrize(
    ("word", "answer"), [("1", "welcome to server!"), ("2", "please go out!"), ("hello", "please go out!")]
)
def test_greeter(service, client, word, answer):
    """``1`` alone is welcomed, before its client gives up."""
    greeter = client("greeter", service("greeter"), word)

    assert [f"server: {answer}", ""] == greeter.lines()


def test_greeter_and_silence(service, client):
    """After five seconds the server closes without a word, and logs the time out."""
    greeter = service("greeter")

    assert ["server: "] == client("greeter", greeter).lines()
    assert any("time out" in greeter.process.stderr.readline() for _ in range(20))


def test_echo_with_a_prefix_and_several_messages(service, client):
    """Each comes back with it; a stream of bytes waits for no silence."""
    echo = service("echo", "--prefix", "Echo=>")

    assert ["Echo=>hello", "Echo=>i am 1", "Echo=>bye"] == client("ask", echo, "hello", "i am 1", "bye").lines()


@pytest.mark.parametrize("name", ["ask", "ask_anew"])
def test_time(service, client, name):
    """Again and again on one connection, or with one for each request."""
    lines = client(name, service("time"), "hi", "hello", "hi").lines()

    assert [True] * 3 == [
        bool(re.fullmatch(f"{CTIME} {word}", line)) for word, line in zip(("hi", "hello", "hi"), lines, strict=True)
    ]


@pytest.mark.parametrize(
    "options",
    [("--engine", "pure"), ("--engine", "blocking"), ("--model", "threads"), ("--model", "one-at-a-time")],
    ids=lambda options: options[1],
)
def test_time_on_every_engine_and_model(service, client, options):
    """The client need not know how it is served."""
    lines = client("ask", service("time", *options), "hi", "hello").lines()

    assert ["hi", "hello"] == [line.rpartition("] ")[2] for line in lines]


def test_time_over_udp(service, client):
    """A datagram is a message, at once and without a line end."""
    lines = client("ask_udp", service("time", scheme="udp"), "hi", "hello").lines()

    assert [True] * 2 == [
        bool(re.fullmatch(f"{CTIME} {word}", line)) for word, line in zip(("hi", "hello"), lines, strict=True)
    ]


def test_hello(service, client):
    """The server greets, is told a word, prints it and closes."""
    hello = service("hello")

    assert ["Got a connection from server", "end: b''"] == client("hello", hello).lines()
    assert hello.line().endswith(": thanks for the connection")


def test_date_and_time(service, client):
    """One line, and the end."""
    (line,) = client("daytime", service("daytime")).lines()

    assert line.startswith("It is ")
    assert str(time.gmtime().tm_year) in line


def test_chat(service, client):
    """What one says who ends no line, the other hears."""
    room = service("chat")
    listener = client("hello", room)
    talk = client("talk", room)
    talk.type("hello there")

    assert "hello there" == listener.line()
