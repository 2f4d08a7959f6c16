/*
 * The limit: what an echo server costs when nothing but the system calls is left. Single-threaded, level-triggered
 * epoll, one receive and one send per wake-up.
 *
 *   epoll_echo --port 0 --framing raw              sends back what came, unread
 *   epoll_echo --port 0 --framing lines            cuts lines, calls handle() for each, one send for all replies
 *   epoll_echo --port 0 --framing length-prefixed  the same with a 4-byte big-endian length before each payload
 *
 * Built with -DBENCH_TLS it speaks TLS 1.3, by SSL_read and SSL_write on the socket: --tls-cert FILE, which holds its key.
 *
 * Prints "READY <port>". Runs until it is ended by a signal.
 */

#define _GNU_SOURCE /* accept4 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#ifdef BENCH_TLS
#include <openssl/err.h>
#include <openssl/ssl.h>
#endif

enum { RECEIVE_BYTES = 256 * 1024, MAX_FRAME_BYTES = 16 * 1024 * 1024, EVENTS = 256, PREFIX_BYTES = 4 };

struct bytes {
    uint8_t *data;
    size_t length, room;
};

struct connection {
    int fd;
    uint32_t watched; /* for what events */
#ifdef BENCH_TLS
    SSL *ssl;
#endif
    struct bytes partial; /* received, not a whole frame yet; owns memory only while it is not empty */
    struct bytes unsent;  /* what the socket did not take; while it is not empty nothing is read */
};

/* Returns how many bytes at the front of `data` are whole frames, after appending their replies to `replies`. */
typedef size_t framing(const uint8_t *data, size_t length, struct bytes *replies);

static uint8_t inbox[RECEIVE_BYTES];
static struct bytes replies; /* of one wake-up */
static int epoll;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void append(struct bytes *b, const void *data, size_t length)
{
    if (b->length + length > b->room) {
        b->room = b->length + length > 2 * b->room ? b->length + length : 2 * b->room;
        b->data = realloc(b->data, b->room);
        if (!b->data)
            die("realloc");
    }
    memcpy(b->data + b->length, data, length);
    b->length += length;
}

static void release(struct bytes *b)
{
    free(b->data);
    *b = (struct bytes){0};
}

/* The handler: not inlined, as a handler that does something would not be. */
__attribute__((noinline)) static void handle(const uint8_t *message, size_t length, struct bytes *out)
{
    append(out, message, length);
}

static size_t cut_lines(const uint8_t *data, size_t length, struct bytes *out)
{
    size_t taken = 0;
    const uint8_t *end;
    while ((end = memchr(data + taken, '\n', length - taken))) {
        size_t size = (size_t)(end - data) - taken;
        handle(data + taken, size, out);
        append(out, "\n", 1);
        taken += size + 1;
    }
    return taken;
}

static size_t cut_length_prefixed(const uint8_t *data, size_t length, struct bytes *out)
{
    size_t taken = 0;
    while (length - taken >= PREFIX_BYTES) {
        uint32_t size;
        memcpy(&size, data + taken, PREFIX_BYTES);
        size = ntohl(size);
        if (size > MAX_FRAME_BYTES)
            return SIZE_MAX;
        if (length - taken - PREFIX_BYTES < size)
            break;
        append(out, data + taken, PREFIX_BYTES);
        handle(data + taken + PREFIX_BYTES, size, out);
        taken += PREFIX_BYTES + size;
    }
    return taken;
}

static void watch(struct connection *c, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = c};
    if (c->watched == events)
        return;
    if (epoll_ctl(epoll, operation, c->fd, &event) < 0)
        die("epoll_ctl");
    c->watched = events;
}

#ifdef BENCH_TLS

static SSL_CTX *context;

static void load_certificate(const char *path)
{
    context = SSL_CTX_new(TLS_server_method());
    if (!context || !SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) ||
        SSL_CTX_use_certificate_chain_file(context, path) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, path, SSL_FILETYPE_PEM) != 1) {
        ERR_print_errors_fp(stderr);
        exit(1);
    }
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
    /* One recv(2) for the head of a record and its body, and for as many more as are there. */
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_default_read_buffer_len(context, 64 * 1024);
    SSL_CTX_set_session_id_context(context, (const uint8_t *)"echo", 4);
}

static void begin_tls(struct connection *c)
{
    c->ssl = SSL_new(context);
    if (!c->ssl || !SSL_set_fd(c->ssl, c->fd))
        die("SSL_new");
    SSL_set_accept_state(c->ssl);
}

static void end_tls(struct connection *c)
{
    SSL_shutdown(c->ssl); /* close_notify, unless one cannot be sent any more */
    ERR_clear_error();
    SSL_free(c->ssl);
}

static ssize_t outcome(struct connection *c, int n)
{
    int why = SSL_get_error(c->ssl, n);
    ERR_clear_error();
    errno = why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? EAGAIN : ECONNRESET;
    return why == SSL_ERROR_ZERO_RETURN ? 0 : -1;
}

static ssize_t take(struct connection *c, void *room, size_t length)
{
    size_t got = 0;
    do {
        int n = SSL_read(c->ssl, (uint8_t *)room + got, (int)(length - got));
        if (n <= 0)
            return got ? (ssize_t)got : outcome(c, n);
        got += (size_t)n;
    } while (got < length && SSL_has_pending(c->ssl)); /* else the next event tells of what comes */
    return (ssize_t)got;
}

static int holds(struct connection *c)
{
    return SSL_pending(c->ssl) > 0;
}

static ssize_t give(struct connection *c, const uint8_t *data, size_t length)
{
    size_t given = 0;
    while (given < length) {
        int n = SSL_write(c->ssl, data + given, (int)(length - given));
        if (n <= 0)
            return given && outcome(c, n) < 0 && errno == EAGAIN ? (ssize_t)given : outcome(c, n);
        given += (size_t)n;
    }
    return (ssize_t)given;
}

#else

static void load_certificate(const char *path)
{
    fprintf(stderr, "built without TLS: %s\n", path);
    exit(2);
}

static void begin_tls(struct connection *c)
{
    (void)c;
}

static void end_tls(struct connection *c)
{
    (void)c;
}

static ssize_t take(struct connection *c, void *room, size_t length)
{
    return recv(c->fd, room, length, 0);
}

static int holds(struct connection *c)
{
    (void)c;
    return 0;
}

static ssize_t give(struct connection *c, const uint8_t *data, size_t length)
{
    return send(c->fd, data, length, MSG_NOSIGNAL);
}

#endif

static void drop(struct connection *c)
{
    end_tls(c);
    close(c->fd);
    release(&c->partial);
    release(&c->unsent);
    free(c);
}

/* Returns 0 if the connection is gone. */
static int transmit(struct connection *c, const uint8_t *data, size_t length)
{
    ssize_t n = give(c, data, length);
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        drop(c);
        return 0;
    }
    size_t sent = n < 0 ? 0 : (size_t)n;
    if (sent < length) {
        append(&c->unsent, data + sent, length - sent);
        watch(c, EPOLL_CTL_MOD, EPOLLOUT);
    }
    return 1;
}

static void flush_unsent(struct connection *c)
{
    ssize_t n = give(c, c->unsent.data, c->unsent.length);
    if (n < 0) {
        if (errno != EAGAIN && errno != EINTR)
            drop(c);
        return;
    }
    c->unsent.length -= (size_t)n;
    memmove(c->unsent.data, c->unsent.data + n, c->unsent.length);
    if (c->unsent.length == 0) {
        release(&c->unsent);
        watch(c, EPOLL_CTL_MOD, EPOLLIN);
    }
}

/* Returns 0 if the connection is gone, or nothing more is to be read now. */
static int receive(struct connection *c, framing *cut)
{
    ssize_t n = take(c, inbox, sizeof inbox);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n <= 0) {
        drop(c);
        return 0;
    }
    if (!cut)
        return transmit(c, inbox, (size_t)n) && c->unsent.length == 0;
    const uint8_t *data = inbox;
    size_t length = (size_t)n;
    if (c->partial.length > 0) {
        append(&c->partial, inbox, length);
        data = c->partial.data;
        length = c->partial.length;
    }
    replies.length = 0;
    size_t taken = cut(data, length, &replies);
    size_t left = length - taken;
    if (taken == SIZE_MAX || left > MAX_FRAME_BYTES) {
        drop(c);
        return 0;
    }
    if (data != inbox)
        memmove(c->partial.data, c->partial.data + taken, c->partial.length = left);
    else if (left > 0)
        append(&c->partial, inbox + taken, left);
    if (c->partial.data && left == 0)
        release(&c->partial);
    return replies.length == 0 || (transmit(c, replies.data, replies.length) && c->unsent.length == 0);
}

static void accept_one(int listener)
{
    int on = 1, fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct connection *c = calloc(1, sizeof *c);
    if (!c)
        die("calloc");
    c->fd = fd;
    begin_tls(c);
    watch(c, EPOLL_CTL_ADD, EPOLLIN);
}

static int listen_on(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    socklen_t length = sizeof address;
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&address, length) < 0 || listen(fd, 1024) < 0)
        die("listen");
    getsockname(fd, (struct sockaddr *)&address, &length);
    printf("READY %u\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

int main(int argc, char **argv)
{
    struct epoll_event events[EVENTS];
    struct rlimit files;
    uint16_t port = 0;
    framing *cut = NULL;

    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--port") == 0)
            port = (uint16_t)atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--tls-cert") == 0)
            load_certificate(argv[i + 1]);
        else if (strcmp(argv[i], "--framing") == 0)
            cut = strcmp(argv[i + 1], "lines") == 0             ? cut_lines
                  : strcmp(argv[i + 1], "length-prefixed") == 0 ? cut_length_prefixed
                                                                : NULL;
    }
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    signal(SIGPIPE, SIG_IGN); /* SSL_write knows no MSG_NOSIGNAL */
    epoll = epoll_create1(EPOLL_CLOEXEC);
    int listener = listen_on(port);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int n = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            struct connection *c = events[i].data.ptr;
            if (!c)
                accept_one(listener);
            else if (events[i].events & EPOLLOUT)
                flush_unsent(c);
            else
                while (receive(c, cut) && holds(c))
                    ;
        }
    }
}
