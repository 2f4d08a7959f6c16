"""The law of a connection, written once for every engine: it is told of bytes and instants and answers with verdicts.

Each file holds one law, as a class that adds to the one before it: `closing`, `deadlines`, `output`, `rate`. The
connections of an engine inherit the last one, `Law`, so that a connection stays one object. A law does no input or
output, reads no clock, calls nothing of the engine, and looks up no member of an enum while it works.

Beside each ``.py`` stands a ``.pxd``: what a C compiler has to know. Where there is one, the same source becomes an
extension type; the native engine inherits its fields and calls its methods as C functions, the other engines call them
as Python methods. Without a compiler the ``.py`` is what runs.
"""

from .fresh import refuse_stale

# Whether something compiled was refused: what was compiled with it, the native engine, cannot be loaded either.
WAS_REFUSED = refuse_stale()
