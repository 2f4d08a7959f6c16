"""The law as it is compiled, for the native engine: the sources are those of `core.law`, their C types stand here.

A module here has the name of its source, and imports its own kind from beside it: the native engine inherits the fields
of `Law` and calls its methods as C functions. Engines in Python run the sources, compiled or not: there a field is a
slot, which CPython reads in one instruction of its own. A field of an extension type is read by a descriptor, and a
number made for each look, which cost a message more than all that the law does for it.
"""

from ..law.fresh import refusal

if why := refusal():
    raise ImportError(why)
