"""Objects of a user's codec out of what JSON can say: dataclasses, named tuples, structs, and what has them in it."""

import dataclasses
from typing import Any, get_args, get_origin, get_type_hints


def field_names(kind: type) -> list[str] | None:
    """Return the names of a type's fields: of a dataclass, a msgspec struct, an attrs class. None: it has none."""
    if dataclasses.is_dataclass(kind):
        return [field.name for field in dataclasses.fields(kind)]
    if hasattr(kind, "__struct_fields__"):
        return list(kind.__struct_fields__)
    if hasattr(kind, "__attrs_attrs__"):
        return [field.name for field in kind.__attrs_attrs__]
    return None


def made_of_json(value: Any, kind: Any) -> Any:
    """Make a message of the type that a codec names. Bytes are written as text, as they are shown.

    Raises:
        ValueError, TypeError: It cannot be made of this.
    """
    import msgspec  # no codec of bytes needs it

    try:
        return msgspec.convert(_with_bytes(value, kind), kind, builtin_types=(bytes,))
    except (TypeError, MemoryError):
        raise
    except Exception as error:  # msgspec's own are ValueErrors in some of its releases
        raise ValueError(str(error)) from None


def _with_bytes(value: Any, kind: Any) -> Any:
    """Encode text where the type has bytes."""
    arguments = get_args(kind)
    match value:
        case str():
            wants_bytes = kind is bytes or (bytes in arguments and str not in arguments)
            return value.encode("utf-8", "surrogatepass") if wants_bytes else value
        case dict() if isinstance(kind, type) and (field_names(kind) is not None):
            hints = get_type_hints(kind)
            return {name: _with_bytes(item, hints.get(name, object)) for name, item in value.items()}
        case dict() if len(arguments) == 2:
            return {_with_bytes(key, arguments[0]): _with_bytes(item, arguments[1]) for key, item in value.items()}
        case list() if get_origin(kind) is tuple and arguments[-1:] != (Ellipsis,):
            return [*map(_with_bytes, value, arguments), *value[len(arguments) :]]
        case list() if arguments:
            return [_with_bytes(item, arguments[0]) for item in value]
        case list() if hasattr(kind, "_fields"):  # a named tuple
            hints = get_type_hints(kind)
            return [*map(_with_bytes, value, hints.values()), *value[len(hints) :]]
        case _:
            return value
