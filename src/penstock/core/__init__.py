"""The laws every engine obeys, without I/O and without a clock."""
