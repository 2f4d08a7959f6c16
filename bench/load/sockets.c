#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "load.h"

/* A closed connection keeps its port for a minute (TIME_WAIT), and one source address has 28 232 of them. */
enum { SOURCES = 32 };

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t own_cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int is_loopback(const struct options *o)
{
    const struct sockaddr_in *in = (const struct sockaddr_in *)&o->address;
    return o->address.ss_family == AF_INET && (ntohl(in->sin_addr.s_addr) >> 24) == 127;
}

static void choose_source(int fd)
{
    static unsigned turn;
    struct sockaddr_in source = {.sin_family = AF_INET};
    int on = 1;

    source.sin_addr.s_addr = htonl(0x7f000001u + turn++ % SOURCES);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&source, sizeof source) < 0)
        fail("connect", "bind to a loopback source: %s", strerror(errno));
}

static int socket_new(const struct options *o, int flags)
{
    int fd = socket(o->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    if (fd < 0)
        fail("connect", "socket: %s", strerror(errno));
    if (o->address.ss_family == AF_INET) {
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }
    if (is_loopback(o))
        choose_source(fd);
    return fd;
}

int connect_begin(const struct options *o)
{
    int fd = socket_new(o, SOCK_NONBLOCK);
    if (connect(fd, (const struct sockaddr *)&o->address, o->address_length) < 0 && errno != EINPROGRESS)
        fail("connect", "%s", strerror(errno));
    return fd;
}

int connect_blocking(const struct options *o)
{
    int fd = socket_new(o, 0);
    struct timeval limit = {.tv_sec = (time_t)o->stall_s,
                            .tv_usec = (suseconds_t)((o->stall_s - (double)(time_t)o->stall_s) * 1e6)};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (connect(fd, (const struct sockaddr *)&o->address, o->address_length) < 0)
        fail("connect", "%s", strerror(errno));
    return fd;
}
