"""What the terminal can show."""

import os
from typing import TextIO


def has_colour(stream: TextIO) -> bool:
    """Whether to colour what goes to ``stream``: it is a terminal that can, and the user has not said NO_COLOR."""
    if os.environ.get("NO_COLOR"):  # no-color.org: any value but an empty one
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
