cdef extern from *:
    """
    #ifndef PENSTOCK_DEBUG
    #define PENSTOCK_DEBUG 0
    #endif
    """
    # Known to the C compiler: what stands under `if PENSTOCK_DEBUG` costs nothing where it is 0.
    enum: PENSTOCK_DEBUG

cdef struct Census:
    long connections  # made and not yet deallocated
    long blocks  # of input or output, allocated and not yet freed
    long references  # held by C structures alone, where no garbage collector sees them

cdef Census living
