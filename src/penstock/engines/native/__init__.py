"""The compiled engine: one epoll set that is the loop's selector too. Linux, CPython; docs/design/native-engine.md."""

from ...core.law import WAS_REFUSED

if WAS_REFUSED:
    raise ImportError("the compiled law is older than its source, or not complete; build it again: pip install -e .")
