"""The portable engine: asyncio protocols, on any loop that has ``add_reader`` (asyncio's selector loop, uvloop)."""
