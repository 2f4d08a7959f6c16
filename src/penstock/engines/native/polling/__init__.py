"""One epoll set, as a loop's selector or beside a loop of another kind, and the timer wheel."""
