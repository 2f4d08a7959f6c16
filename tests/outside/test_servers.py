"""Servers of the tutorials, which take each recv for a message and end none, beside `penstock send` and `connect`."""

import re

import pytest

pytestmark = pytest.mark.outside

CTIME = r"\[\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}\]"
QUIET = ("--codec", "lines:quiet=100ms")


def url(server, scheme="tcp"):
    return f"{scheme}://127.0.0.1:{server.port}"


@pytest.mark.parametrize("options", [(), QUIET], ids=["raw", "quiet"])
def test_send_prints_one_reply_for_each_message(server, penstock, options):
    """Raw has what came; with a codec that ends messages by silence each reply is one."""
    send = penstock("send", *options, url(server("echo")), "hello", "i am 1")

    assert "Echo=>helloEcho=>i am 1" == "".join(send.lines())


def test_send_to_a_server_of_the_time(server, penstock):
    """Over TCP, with and without a codec, and over UDP."""
    tcp, udp = server("time"), server("time_udp")
    for words in ((url(tcp), "hi"), (*QUIET, url(tcp), "hi"), (url(udp, "udp"), "hi")):
        (line, *_) = penstock("send", *words).lines()
        assert re.match(f"{CTIME} hi", line)


@pytest.mark.parametrize(("word", "answer"), [("1", "welcome to server!"), ("2", "please go out!")])
def test_send_to_the_greeter(server, penstock, word, answer):
    """The word goes as it is, and the server's end ends the answer."""
    assert [answer] == penstock("send", url(server("greeter")), word).lines()


def test_send_prints_what_a_server_prints(server, penstock):
    """What is sent with ``--all`` is printed there; nothing is answered."""
    printing = server("print")
    assert [] == penstock("send", "--all", url(printing), "hello").lines()

    assert ["hello"] == printing.lines()


@pytest.mark.parametrize("options", [(), QUIET], ids=["raw", "quiet"])
def test_connect_shows_a_greeting_that_has_no_end(server, penstock, options):
    """It is there before anything is said."""
    hello = server("hello")
    connect = penstock("connect", *options, url(hello))
    if options:
        assert "Got a connection from server" == connect.line()
    else:
        assert "Got a connection from server" == connect.process.stdout.read(28)
    connect.type("thanks")

    assert "thanks" == hello.line()


def test_connect_shows_each_answer_on_a_line(server, penstock):
    """Those come apart that are sent apart."""
    connect = penstock("connect", *QUIET, url(server("time")))
    for word in ("hi", "hello"):
        connect.type(word)
        assert re.fullmatch(f"{CTIME} {word}", connect.line())
