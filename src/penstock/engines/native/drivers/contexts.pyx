"""The contexts that handlers are called in: each connection has one of its own as soon as something is set in it.

Most handlers set nothing. A context that was left as it was entered serves the next connection as well, without a copy being
made for a call or kept for a connection: nobody can tell it from a new one.
"""

import contextvars

from ..sealed cimport seal


cdef class Contexts:
    """Copies of the context that it was made in."""

    def __init__(self):
        self.base = contextvars.copy_context()
        self.ends = self.base.copy()
        self.untouched = penstock_variables(self.base)


seal(globals())
