"""The blocking engine: a thread for each connection, for handlers that block. It is the synchronous client's, too."""
