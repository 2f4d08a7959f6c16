"""The compiled engine: one epoll set that is the loop's selector too. Linux, CPython; docs/design/native-engine.md."""
