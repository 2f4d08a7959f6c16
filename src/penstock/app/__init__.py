"""An application: several services with one life, the state they share, and what runs beside them."""

from typing import TYPE_CHECKING

from ..lazy import import_on_first_use

if TYPE_CHECKING:
    from .api import run, serve
    from .app import App
    from .server import AppServer
    from .state import State
    from .trial import AppTest

__all__ = ["App", "AppServer", "AppTest", "State", "run", "serve"]

# Only a test needs `AppTest`, and with it the client.
__getattr__ = import_on_first_use(
    globals(),
    {"App": "app", "AppServer": "server", "AppTest": "trial", "State": "state", "run": "api", "serve": "api"},
)
