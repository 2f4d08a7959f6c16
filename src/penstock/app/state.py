"""What an application's handlers share."""

from __future__ import annotations

from typing import Any


class State:
    """Whatever is set on it: ``app.state.db = db``. For types that a checker knows give `App` an object of your own."""

    def __init__(self, **values: Any) -> None:  # Any: whatever is set
        self.__dict__.update(values)

    def __getattr__(self, name: str) -> Any:
        has = ", ".join(vars(self)) or "nothing"
        raise AttributeError(f"the application's state has no {name!r}; it has {has}", name=name, obj=self)

    def __setattr__(self, name: str, value: Any) -> None:
        self.__dict__[name] = value

    def __repr__(self) -> str:
        return f"State({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"
