"""What tests of programs built on Penstock need: codecs driven without a connection, and their laws to be checked."""

from .codecs import (
    Decoded,
    check_batches,
    check_codec,
    check_cutting,
    check_refusals,
    check_round_trip,
    check_silence,
    chop,
    decode_chunks,
    decode_in_chunks,
)

__all__ = [
    "Decoded",
    "check_batches",
    "check_codec",
    "check_cutting",
    "check_refusals",
    "check_round_trip",
    "check_silence",
    "chop",
    "decode_chunks",
    "decode_in_chunks",
]
