"""A connection that goes on in another process: what is told of it, and what has to be the same at both ends.

`snapshot` is the format. `law` and `codecs` say what of it concerns deadlines and codecs. The format is imported by
servers that hand connections over, and by no others.
"""


class CannotMoveError(Exception):
    """A connection cannot be handed over, or not taken over. The text says why."""
