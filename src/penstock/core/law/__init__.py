"""The law of a connection, written once for every engine: it is told of bytes and instants and answers with verdicts.

Each file holds one law, as a class that adds to the one before it: `closing`, `deadlines`, `waiting`, `output`, `rate`.
The connections of an engine inherit the last one, `Law`, so that a connection stays one object. A law does no input or
output, reads no clock, calls nothing of the engine, and looks up no member of an enum while it works.

Engines in Python run these files. Where there is a C compiler the same files become the extension types of
`core.compiled_law`, for the native engine.
"""
