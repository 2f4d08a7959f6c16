"""``--model process``: a process for each connection, forked from one without threads, as of old."""
