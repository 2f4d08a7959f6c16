"""The load in Python, on any platform."""
