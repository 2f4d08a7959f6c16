"""Names of Unix sockets: as the kernel takes them, and as printable text."""

import os
import re
from typing import Final

from ..errors import ConfigurationError

# sockaddr_un has room for 108 bytes: a path ends with a NUL, an abstract name begins with one. See unix(7).
MAX_UNIX_PATH_BYTES: Final = 107


def unix_name_of_path(path: str) -> bytes:
    """Return what bind(2) and connect(2) take: the encoded path, or NUL and the name for ``@name``."""
    encoded = os.fsencode(path)
    return b"\0" + encoded[1:] if path.startswith("@") else encoded


def path_of_unix_name(name: str | bytes) -> str:
    """Write what getsockname(2) gives the way `Address.path` does: ``@name`` if abstract, empty if unnamed."""
    path = os.fsdecode(name)
    if path.startswith("\0"):
        return f"@{path[1:]}"
    return f"./{path}" if path.startswith("@") else path


def quote_path(path: str) -> str:
    """Write ``path`` as printable text without spaces, which `unquote_path` reads back."""
    return "".join(
        char if char.isprintable() and char not in "%? " else "".join(f"%{byte:02X}" for byte in os.fsencode(char))
        for char in path
    )


def unquote_path(text: str) -> str:
    """Read a path: as it stands, but for ``%`` and two hexadecimal digits, which are a byte.

    Raises:
        ConfigurationError: A ``%`` stands alone, or the file system's encoding has no such characters.
    """
    if re.search(r"%(?![0-9A-Fa-f]{2})", text):
        raise ConfigurationError("a % in a path begins a byte of two hexadecimal digits; write %25 for the sign itself")
    try:
        encoded = os.fsencode(text)
    except UnicodeEncodeError as error:
        raise ConfigurationError(f"the path cannot be encoded as a file name: {error.reason}") from None
    return os.fsdecode(re.sub(rb"%(..)", lambda match: bytes([int(match[1], 16)]), encoded))
