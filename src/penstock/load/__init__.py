"""A load generator, in Python and compiled: what `penstock bench` runs, and what it has seen afterwards."""
