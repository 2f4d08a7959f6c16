"""What is alive, counted where PENSTOCK_DEBUG=1 was set when the extension was built."""


def census():
    """Return how many connections, memory blocks and hidden references are alive; None in a build that does not count."""
    if not PENSTOCK_DEBUG:
        return None
    return {"connections": living.connections, "blocks": living.blocks, "references": living.references}
