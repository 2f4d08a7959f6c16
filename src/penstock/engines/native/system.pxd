"""System calls on sockets that do not block, and those that wait with the interpreter released.

glibc's wrappers are cancellation points: with more than one thread each call has a thread prepared to be cancelled in it, and
restored after it. Python cancels no threads. It was 2 % of a message.
"""

cdef extern from *:
    """
    #include <sys/epoll.h>
    #include <sys/socket.h>
    #include <sys/syscall.h>
    #include <unistd.h>

    static inline ssize_t penstock_recv(int fd, void *data, size_t size)
    {
    #ifdef SYS_recvfrom
        return syscall(SYS_recvfrom, fd, data, size, 0, NULL, NULL);
    #else
        return recv(fd, data, size, 0);
    #endif
    }

    static inline ssize_t penstock_send(int fd, const void *data, size_t size)
    {
    #ifdef SYS_sendto
        return syscall(SYS_sendto, fd, data, size, MSG_NOSIGNAL, NULL, 0);
    #else
        return send(fd, data, size, MSG_NOSIGNAL);
    #endif
    }

    static inline int penstock_epoll_wait(int epoll, void *events, int most, int timeout_ms)
    {
    #ifdef SYS_epoll_wait
        return (int)syscall(SYS_epoll_wait, epoll, events, most, timeout_ms);
    #else
        return epoll_wait(epoll, events, most, timeout_ms);
    #endif
    }
    """
    ssize_t receive "penstock_recv"(int fd, void* data, size_t size) nogil
    ssize_t send "penstock_send"(int fd, const void* data, size_t size) nogil
    int epoll_wait "penstock_epoll_wait"(int epoll, void* events, int most, int timeout_ms) nogil
