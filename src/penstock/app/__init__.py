"""An application: several services with one life, the state they share, and what runs beside them."""

from .api import run, serve
from .app import App
from .server import AppServer
from .state import State
from .trial import AppTest

__all__ = ["App", "AppServer", "AppTest", "State", "run", "serve"]
