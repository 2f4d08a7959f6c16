"""``penstock bench``: a load generator, in Python and compiled, and what it reports."""
