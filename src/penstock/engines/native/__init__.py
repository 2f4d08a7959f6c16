"""The compiled engine: one epoll set that is the loop's selector too. Linux, CPython; docs/design/native-engine.md."""

from ...core import compiled_law as _compiled_law  # noqa: F401 - refuses a law that is older than its source
