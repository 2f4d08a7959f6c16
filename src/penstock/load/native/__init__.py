"""The compiled load: Linux, and one epoll set of its own."""
