/* What the parts of the load generator share: the options, the bytes of the messages, the ways to fail and to report. */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "histogram.h"

enum framing { LINES, RAW, LENGTH_PREFIXED, RESP };
enum tls { TLS_NONE, TLS_FULL, TLS_RESUMED }; /* in each handshake: none, all of it, with the last ticket */
enum mode { ECHO, CONNECT, ACCEPT, IDLE, FAIRNESS, HISTOGRAM };

struct options {
    enum mode mode;
    enum framing framing;
    enum tls tls;
    unsigned connections;     /* those whose latency is recorded */
    unsigned firehoses;       /* those that pipeline without pause, beside them */
    unsigned depth;           /* messages in flight on each recorded connection */
    size_t size;              /* payload bytes of one message, framing excluded */
    uint64_t messages;        /* length of the measured window in messages, or 0: `seconds` counts */
    double seconds;
    uint64_t warmup_messages; /* the same for the warm-up */
    double warmup_seconds;
    double stall_s;           /* silence after which the outstanding bytes are called missing */
    int sync;                 /* tell the parent where the window begins and ends, and wait for its word */
    struct sockaddr_storage address;
    socklen_t address_length;
};

/* -- options.c -- */

/* Fills `options` from the command line; a wrong one ends the process with status 2. */
void options_parse(struct options *options, int argc, char **argv);
const char *framing_name(enum framing framing);
const char *mode_name(enum mode mode);

/* -- wire.c -- */

/* The endless stream one connection sends, and the one it must get back: `period` different messages, over and over. */
struct wire {
    uint8_t *requests;
    uint8_t *replies;
    size_t request_size; /* bytes of one message with its framing */
    size_t reply_size;
    size_t period;       /* messages */
};

/*
 * Messages of connection `id`, more of them than `in_flight` at once. As far as the size leaves room for it, no two
 * connections and no two messages of the period share their bytes: one that is lost, doubled, swapped or delivered to
 * another connection shows as a wrong byte.
 */
void wire_make(struct wire *wire, const struct options *options, unsigned id, size_t in_flight);
void wire_free(struct wire *wire);

/* Compares `length` bytes, received at byte `position` of the reply stream; ends the process at the first wrong one. */
void wire_check(const struct wire *wire, unsigned id, uint64_t position, const uint8_t *got, size_t length);

/* -- stream.c -- */

/* A connection's socket, or TLS over it. */
struct stream {
    int fd;
    void *tls;       /* its SSL, or NULL */
    short waits_for; /* POLLIN or POLLOUT: what the call needs that was not done, for EAGAIN */
    int resumes;     /* with a session: its handshake is to be a resumed one */
};

/* Takes the socket, connected or about to be. TLS shakes hands in the first call that sends or receives. */
void stream_open(struct stream *stream, const struct options *options, int fd);

/* Goes on with the handshake. Returns whether it is done; else `waits_for` says what it needs. */
int stream_shakes(struct stream *stream);

/* As send(2) and recv(2). One that received all there is room for may hold more: no event will tell of that. */
ssize_t stream_send(struct stream *stream, const void *data, size_t length);
ssize_t stream_receive(struct stream *stream, void *buffer, size_t room);
int stream_holds(const struct stream *stream);

/* Ends our direction: close_notify, EOF. */
void stream_end(struct stream *stream);
void stream_close(struct stream *stream);

/* -- sockets.c -- */

/* A non-blocking connection attempt, begun: TCP_NODELAY set, source addresses in turn. Ends the process on failure. */
int connect_begin(const struct options *options);

/* A connected blocking socket whose receive times out after `stall_s`. Ends the process on failure. */
int connect_blocking(const struct options *options);

uint64_t now_ns(void);
uint64_t own_cpu_ns(void);

/* -- report.c -- */

/* Prints {"error": kind, "detail": ...} as the one result line and ends the process with status 1. */
void fail(const char *kind, const char *format, ...) __attribute__((noreturn, format(printf, 2, 3)));

/* Where the measured window begins ("window") and ends ("end"): nothing is in flight, the server has nothing to do. */
void sync_point(const struct options *options, const char *name);

struct window {
    uint64_t began_ns, ended_ns;
    uint64_t began_cpu_ns, ended_cpu_ns;
    uint64_t messages;          /* completed by the recorded connections */
    uint64_t firehose_messages;
    uint64_t bytes;             /* received and compared, all connections */
};

void report(const struct options *options, const struct window *window, const struct histogram *latency);

/* -- the modes -- */

void run_echo(const struct options *options);    /* echo.c, also fairness */
void run_connect(const struct options *options); /* connect.c, also accept */
void run_idle(const struct options *options);    /* idle.c */

#endif
