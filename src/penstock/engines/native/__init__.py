"""The compiled engine: one epoll set that is the loop's selector too. Linux, CPython; design in docs/design/native-engine.md."""
