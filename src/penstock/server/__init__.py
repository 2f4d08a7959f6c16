"""A service on addresses: sockets, engine choice, life cycle, signals."""

from .process import run
from .server import Server

__all__ = ["Server", "run"]
