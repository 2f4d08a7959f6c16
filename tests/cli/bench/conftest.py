"""The peers and loops that the tests of the load itself have."""

from ...load.conftest import datagrams, engine, load_of, peer

__all__ = ["datagrams", "engine", "load_of", "peer"]
