"""The service of these files: it answers each line in capitals."""

import penstock


@penstock.on_message(codec="lines")
def shout(message: bytes) -> bytes:
    """Answer in capitals."""
    return message.upper()
