"""Several processes that serve as one: a supervisor, its workers, and what they say to each other."""

from typing import Final

# Where a worker finds the descriptor of its channel.
VARIABLE: Final = "PENSTOCK_WORKER_CHANNEL"
