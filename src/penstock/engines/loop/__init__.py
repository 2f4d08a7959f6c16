"""What serves a plan on an asyncio loop, whatever moves the bytes: acceptors, connections, datagrams, threads."""
