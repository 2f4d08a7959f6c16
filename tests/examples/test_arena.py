"""The game over UDP: players join, move and leave, and everybody is told."""

import contextlib
import json
import socket

import pytest

PATIENCE_S = 20


@pytest.fixture(scope="module")
def served(start):
    return start("arena.py:app", "--bind", "arena=udp://127.0.0.1:0")


class Player:
    """One player's socket."""

    def __init__(self, port):
        self.sock = socket.socket(type=socket.SOCK_DGRAM)
        self.sock.settimeout(PATIENCE_S)
        self.sock.connect(("127.0.0.1", port))

    def say(self, **message):
        self.sock.send(json.dumps(message).encode())

    def hear(self):
        return json.loads(self.sock.recv(2000))

    def join(self, name):
        self.say(join=name)
        self.say(**self.hear())

    def hears(self, **message):
        """Wait until it was told that."""
        while self.hear() != message:
            pass


@pytest.fixture
def player(served):
    with contextlib.ExitStack() as stack:

        def new():
            made = Player(served.port)
            stack.callback(made.sock.close)
            return made

        yield new


def test_players_see_each_other_move_and_leave(player):
    """Whoever joins is told where the others are; all are told of each move, and of the end."""
    ann, bob = player(), player()
    ann.join("ann")
    ann.hears(name="ann", at=[32, 32])
    ann.say(move=[1, 0])
    ann.hears(name="ann", at=[33, 32])
    bob.join("bob")
    bob.hears(name="ann", at=[33, 32])
    ann.hears(name="bob", at=[32, 32])
    bob.say(move=[0, -5])
    ann.hears(name="bob", at=[32, 31])
    bob.say(leave=True)
    ann.hears(name="bob", at=None)
    ann.say(leave=True)


def test_a_name_is_one_players(player):
    """The second one is told so; without the cookie nobody is in, and can move nobody."""
    one, two = player(), player()
    one.join("eve")
    one.hears(name="eve", at=[32, 32])
    two.join("eve")

    assert {"error": "the name is taken"} == two.hear()
    two.say(move=[1, 1])  # another session
    assert {"error": "not understood"} == two.hear()
    one.say(leave=True)
