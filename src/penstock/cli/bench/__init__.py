"""``penstock bench``: a load from the command line, and what is reported of it."""
