"""A small game over UDP: each player is a session, and everybody sees where everybody is.

    penstock serve examples/arena.py:arena --bind udp://127.0.0.1:7777

A datagram is one JSON object. ``{"join": "ann"}`` is answered with ``{"cookie": "…"}``; the player sends
``{"cookie": "…"}`` back, which shows that it receives what is sent to its address, and is in. ``{"move": [dx, dy]}``
moves it, and tells all players ``{"name": "ann", "at": [x, y]}``. ``{"leave": true}``, or 20 seconds of silence, ends
it: then all are told ``{"name": "ann", "at": null}``. A name that is taken is answered with ``{"error": "…"}``.
"""

from __future__ import annotations

import secrets
from typing import Any

import penstock

SIZE = 64  # of the board, each way

app = penstock.App("arena")
everybody: penstock.Group[Any] = app.group("everybody")
players: dict[str, Player] = {}


class Player(penstock.Handler[dict[str, Any]]):
    """One player, from its first datagram to the end of its session."""

    sessions = True

    def __init__(self) -> None:
        self.name = ""
        self.cookie = secrets.token_hex(8)
        self.is_in = False
        self.at = [SIZE // 2, SIZE // 2]

    def on_connect(self, conn: penstock.ConnectionBase[dict[str, Any]]) -> None:
        conn.begin_handshake()

    def on_message(
        self, conn: penstock.ConnectionBase[dict[str, Any]], message: dict[str, Any]
    ) -> dict[str, Any] | None:
        match message:
            case {"join": str(name)} if not self.is_in and 0 < len(name) <= 16:
                self.name = name
                return {"cookie": self.cookie}
            case {"cookie": self.cookie} if self.name and not self.is_in:
                return self.enter(conn)
            case {"move": [int(dx), int(dy)]} if self.is_in:
                for axis, step in enumerate((dx, dy)):
                    self.at[axis] = min(max(self.at[axis] + min(max(step, -1), 1), 0), SIZE - 1)
                self.tell()
            case {"leave": True}:
                conn.close()
            case _:
                return {"error": "not understood"}
        return None

    def enter(self, conn: penstock.ConnectionBase[dict[str, Any]]) -> dict[str, Any] | None:
        if self.name in players:
            conn.close()
            return {"error": "the name is taken"}
        conn.end_handshake()
        players[self.name] = self
        self.is_in = True
        everybody.join(conn)
        for player in players.values():
            conn.post({"name": player.name, "at": player.at})
        self.tell()
        return None

    def tell(self) -> None:
        everybody.publish({"name": self.name, "at": self.at if self.is_in else None})

    def on_close(self, conn: penstock.ConnectionBase[dict[str, Any]], reason: penstock.CloseReason) -> None:
        if self.is_in:
            self.is_in = False
            del players[self.name]
            self.tell()


arena = app.add(Player, codec="json-lines", name="arena", timeouts={"idle": "20s"})
