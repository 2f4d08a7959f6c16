"""Several processes that serve as one: a supervisor, its workers, and what they say to each other."""

from typing import Final

# Where a worker finds the descriptor of its channel.
VARIABLE: Final = "PENSTOCK_WORKER_CHANNEL"

# Set for one that waits until it is told which worker it is.
WAITS: Final = "PENSTOCK_WORKER_WAITS"
