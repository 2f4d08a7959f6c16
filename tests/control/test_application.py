"""The control socket itself: who may speak to it, and what is said over it."""

import json
import logging
import os
import socket
import stat

import pytest

import penstock
from penstock.control.application import application
from penstock.control.messages import ROWS_PER_LINE, Kick, Row
from penstock.errors import ConfigurationError


class Answers:
    """Answers whatever it is asked."""

    def __init__(self, result=None, rows=(), error=None):
        self.result, self.rows, self.error = result, rows, error
        self.asked = []

    async def answer(self, request):
        self.asked.append(request)
        if self.error is not None:
            raise self.error
        return self.result, self.rows


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "control.sock")


async def ask(path, *lines):
    """Send lines; return the objects that come back until the server closes."""
    async with await penstock.connect(f"unix:{path}", codec="lines:max=1MiB") as conn:
        for line in lines:
            await conn.send(line)
        conn.send_eof()
        return [json.loads(line) async for line in conn]


async def test_the_socket_is_its_users_alone(path):
    """Mode 0600, whatever the umask; gone at the end."""
    before = os.umask(0)
    try:
        async with application(Answers(), path, [os.geteuid()]):
            mode = stat.S_IMODE(os.stat(path).st_mode)
    finally:
        os.umask(before)

    assert 0o600 == mode
    assert not os.path.exists(path)


@pytest.mark.skipif(not hasattr(socket, "SO_PEERCRED"), reason="the system does not say who connects")
async def test_another_user_is_refused_by_what_the_kernel_says(path, caplog):
    """Even one whom the file lets in; and the log says so."""
    answers = Answers("secret")
    async with application(answers, path, [os.geteuid() + 1]):
        with pytest.raises((penstock.ConnectError, penstock.ConnectionEndedError)):
            await ask(path, b'{"do": "status"}')

    assert [] == answers.asked
    assert any("refused" in record.getMessage() for record in caplog.records)


async def test_requests_are_answered_in_turn_with_their_ids(path):
    """A program can send several at once."""
    async with application(Answers({"a": 1}), path, [os.geteuid()]):
        found = await ask(path, b'{"do": "status", "id": 7}', b'{"do": "log-level", "id": "x"}', b'{"do": "stacks"}')

    assert [
        {"id": 7, "ok": True, "result": {"a": 1}},
        {"id": "x", "ok": True, "result": {"a": 1}},
        {"ok": True, "result": {"a": 1}},
    ] == found


async def test_many_rows_come_in_several_lines(path):
    """So that neither end has to hold a line of any length."""
    row = Row(1, 2, "echo", "a", "b", "open", 0.0, 0.0, 0, 0, 0, 0, 0, None)
    async with application(Answers({"total": 9}, [row] * (2 * ROWS_PER_LINE + 1)), path, [os.geteuid()]):
        *rows, last = await ask(path, b'{"do": "connections", "id": 1}')

    assert [(True, ROWS_PER_LINE), (True, ROWS_PER_LINE), (True, 1)] == [(e["more"], len(e["rows"])) for e in rows]
    assert {"id": 1, "ok": True, "result": {"total": 9}} == last
    assert "echo" == rows[0]["rows"][0]["service"]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"status", "JSON"),
        (b'{"do": "dance"}', "dance"),
        (b'{"do": "kick", "pear": "192.0.2.1"}', "pear"),
        (b'{"do": "scale", "workers": "many"}', "workers"),
        (b"[]", "object"),
    ],
)
async def test_what_is_no_request_is_answered_and_the_next_one_too(path, line, problem):
    """A misspelt filter is refused, for it would otherwise mean everybody."""
    answers = Answers(5)
    async with application(answers, path, [os.geteuid()]):
        refused, done = await ask(path, line, b'{"do": "status"}')

    assert (False, {"ok": True, "result": 5}) == (refused["ok"], done)
    assert problem in refused["error"]
    assert 1 == len(answers.asked)


async def test_a_refusal_is_an_answer(path):
    """With the reason that the server has."""
    async with application(Answers(error=ConfigurationError("it is too late")), path, [os.geteuid()]):
        assert [{"id": 1, "ok": False, "error": "it is too late"}] == await ask(path, b'{"do": "reload", "id": 1}')


async def test_a_failure_is_answered_and_logged(path, caplog):
    """The connection stays, the server too."""
    async with application(Answers(error=ValueError("broken")), path, [os.geteuid()]):
        found = await ask(path, b'{"do": "status"}', b'{"do": "status"}')

    assert ["ValueError: broken"] * 2 == [answer["error"] for answer in found]
    assert "control: Status failed" in caplog.text


async def test_who_told_what_is_in_the_log(path, caplog):
    """What only asks is not."""
    with caplog.at_level(logging.INFO, logger="penstock"):
        async with application(Answers(), path, [os.geteuid()]):
            await ask(path, b'{"do": "status"}', b'{"do": "limits"}', b'{"do": "kick", "ids": [3], "abort": true}')

    said = [record.getMessage() for record in caplog.records if "control:" in record.getMessage()]
    assert [f"control: unix:pid={os.getpid()},uid={os.geteuid()}: kick ids=[3] abort=True"] == said


def test_a_selection_without_anything_is_everything():
    """An empty list of numbers is nobody."""
    assert (True, False, False) == (Kick().is_everything, Kick(ids=[]).is_everything, Kick(peer="::1").is_everything)
