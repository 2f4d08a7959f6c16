"""The bench: Penstock beside what it competes with, and beside the limit, on the same work in one run."""
