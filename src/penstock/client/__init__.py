"""The other end: the same codecs, connecting instead of accepting."""

from .connect import connect

__all__ = ["connect"]
