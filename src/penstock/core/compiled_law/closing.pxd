cimport cython

cdef int _OPEN, _PEER_EOF, _LOCAL_EOF, _BOTH_EOF, _CLOSING, _FLUSHING, _LINGERING, _CLOSED
cdef int _GOT_EOF, _SENT_EOF, _TOLD_TO_CLOSE, _ALL_SENT, _LOST
cdef int _SEND_ALL, _SEND_EOF, _DISCARD, _END, _RESET, _INPUT_OVER
cdef int _CANNOT_HAPPEN
cdef bytes _AFTER
cdef object _DONE, _PEER_CLOSED


cdef class Closing:
    cdef public object close_reason
    cdef public object _close_after
    cdef public unsigned char _state
    cdef public unsigned char _can_send
    cdef public unsigned char _can_receive
    cdef public unsigned char _closing
    cdef public unsigned char _attached
    cdef public unsigned char _handling
    # Of the laws that follow, here because a struct is filled up to eight bytes.
    cdef public unsigned char _whose_move
    cdef public unsigned char _write_paused

    cpdef void _begin_closing(self) noexcept
    @cython.locals(is_open=bint)
    cpdef void _become(self, int state) noexcept
    cpdef int _happen(self, int given) except -1
    cpdef int _got_eof(self) except -1
    cpdef int _sends_eof(self) except -1
    cpdef int _closes(self, object reason) except -1
    cpdef int _sent_all(self) except -1
    cpdef int _loses(self, object reason) except -1
    cpdef void _breaks(self, object reason) noexcept
    cpdef int _lost(self, object reason) except -1
    cpdef bint _fails(self, object error) except -1
