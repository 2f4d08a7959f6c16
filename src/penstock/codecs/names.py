"""The names of the codecs, by what their messages are: what a type checker knows of ``codec="lines"``.

Only a name alone says so much. A spec with options, ``"lines:max=1KiB"``, is any str, and its messages are of any type.
"""

from typing import Literal

BytesCodecName = Literal["raw", "lines", "gap", "length-prefixed", "varint", "netstring"]
TextCodecName = Literal["text"]
JsonCodecName = Literal["json-lines", "json"]
MsgpackCodecName = Literal["msgpack"]
