/*
 * Steady load: every recorded connection keeps `depth` messages in flight, the next one leaves when a reply has come.
 * In fairness mode firehose connections run beside them: they send without pause and read what comes back.
 */

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>

#include "load.h"

/* What a firehose sends in one call: enough to keep a server busy, short enough not to delay the recorded ones here. */
enum { FIREHOSE_BYTES = 64 * 1024, RECEIVE_BYTES = 256 * 1024, EVENTS = 256, TICK_MS = 100 };

struct peer {
    struct stream stream;
    unsigned id;
    int is_firehose;
    int wants_out;       /* EPOLLOUT is armed */
    struct wire wire;
    uint64_t issued;     /* messages that may be sent */
    uint64_t done;       /* messages whose reply has come, whole */
    uint64_t sent;       /* bytes */
    uint64_t received;   /* bytes */
    uint64_t *issued_ns; /* of the messages in flight, by number modulo `depth` */
};

struct run {
    const struct options *options;
    int epoll;
    struct peer *peers;
    unsigned count;
    int stopping;        /* nothing is issued any more */
    uint64_t quota;      /* messages left to issue in this phase */
    uint64_t in_flight;  /* messages, recorded connections */
    uint64_t heard_ns;   /* when bytes came last */
    struct window window;
    struct histogram latency;
};

static uint8_t inbox[RECEIVE_BYTES];

static void arm(struct run *run, struct peer *peer, int operation, int wants_out)
{
    struct epoll_event event = {.events = EPOLLIN | (wants_out ? EPOLLOUT : 0), .data.ptr = peer};
    if (epoll_ctl(run->epoll, operation, peer->stream.fd, &event) < 0)
        fail("system", "epoll_ctl: %s", strerror(errno));
    peer->wants_out = wants_out;
}

static size_t sendable(const struct peer *peer)
{
    if (peer->issued == UINT64_MAX)
        return FIREHOSE_BYTES;
    return (size_t)(peer->issued * peer->wire.request_size - peer->sent);
}

static ssize_t transmit_parts(struct peer *peer, struct iovec *parts, size_t count)
{
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = count};
    ssize_t n, sent = 0;

    if (!peer->stream.tls)
        return sendmsg(peer->stream.fd, &message, MSG_NOSIGNAL);
    for (size_t i = 0; i < count; i++) {
        for (size_t at = 0; at < parts[i].iov_len; at += (size_t)n, sent += n) {
            n = stream_send(&peer->stream, (uint8_t *)parts[i].iov_base + at, parts[i].iov_len - at);
            if (n <= 0)
                return sent ? sent : n;
        }
    }
    return sent;
}

/* One write with all that is due, and EPOLLOUT for what the socket did not take. */
static void transmit(struct run *run, struct peer *peer)
{
    size_t due = sendable(peer);
    size_t cycle = peer->wire.period * peer->wire.request_size;
    size_t offset = (size_t)(peer->sent % cycle);

    if (due > 0) {
        size_t first = cycle - offset < due ? cycle - offset : due;
        size_t second = due - first < offset ? due - first : offset;
        struct iovec parts[2] = {{peer->wire.requests + offset, first}, {peer->wire.requests, second}};
        ssize_t n = transmit_parts(peer, parts, second > 0 ? 2 : 1);
        if (n > 0)
            peer->sent += (uint64_t)n;
        else if (errno != EAGAIN && errno != EINTR)
            fail("reset", "connection %u, send: %s", peer->id, strerror(errno));
    }
    if ((sendable(peer) > 0) != peer->wants_out)
        arm(run, peer, EPOLL_CTL_MOD, !peer->wants_out);
}

static void issue(struct run *run, struct peer *peer, uint64_t messages, uint64_t now)
{
    if (run->stopping)
        return;
    if (messages > run->quota)
        messages = run->quota;
    for (uint64_t i = 0; i < messages; i++)
        peer->issued_ns[peer->issued++ % run->options->depth] = now;
    run->quota -= messages;
    run->in_flight += messages;
}

static void record(struct run *run, struct peer *peer, uint64_t messages, uint64_t now)
{
    unsigned depth = run->options->depth;
    for (uint64_t end = peer->done + messages; peer->done < end;) {
        uint64_t since = peer->issued_ns[peer->done % depth], same = 1;
        while (peer->done + same < end && peer->issued_ns[(peer->done + same) % depth] == since)
            same++;
        histogram_record(&run->latency, now - since, same);
        peer->done += same;
    }
    run->in_flight -= messages;
    run->window.messages += messages;
}

/* Replies may come for whole requests only; a raw echo may answer any byte that was sent. */
static uint64_t receivable(const struct run *run, const struct peer *peer)
{
    if (run->options->framing == RAW)
        return peer->sent - peer->received;
    return peer->sent / peer->wire.request_size * peer->wire.reply_size - peer->received;
}

static void receive(struct run *run, struct peer *peer)
{
    ssize_t n = stream_receive(&peer->stream, inbox, sizeof inbox);
    if (n < 0) {
        if (errno == EAGAIN || errno == EINTR)
            return;
        fail("reset", "connection %u, receive: %s", peer->id, strerror(errno));
    }
    if (n == 0)
        fail("missing-bytes", "connection %u: end of stream with %llu bytes outstanding", peer->id,
             (unsigned long long)receivable(run, peer));

    uint64_t now = now_ns(), room = receivable(run, peer);
    size_t expected = (uint64_t)n < room ? (size_t)n : (size_t)room;
    wire_check(&peer->wire, peer->id, peer->received, inbox, expected);
    if ((size_t)n > expected)
        fail("extra-bytes", "connection %u: %zu bytes more than were owed", peer->id, (size_t)n - expected);
    peer->received += (uint64_t)n;
    run->heard_ns = now;
    run->window.bytes += (uint64_t)n;

    uint64_t completed = peer->received / peer->wire.reply_size - peer->done;
    if (peer->is_firehose) {
        peer->done += completed;
        run->window.firehose_messages += completed;
    } else if (completed > 0) {
        record(run, peer, completed, now);
        issue(run, peer, completed, now);
        transmit(run, peer);
    }
}

static void stop(struct run *run)
{
    run->stopping = 1;
    for (unsigned i = 0; i < run->count; i++) {
        struct peer *peer = &run->peers[i];
        if (peer->issued == UINT64_MAX) /* to the end of the message it is in */
            peer->issued = (peer->sent + peer->wire.request_size - 1) / peer->wire.request_size;
    }
}

static const struct peer *anyone_outstanding(const struct run *run)
{
    for (unsigned i = 0; i < run->count; i++)
        if (run->peers[i].done < run->peers[i].issued)
            return &run->peers[i];
    return NULL;
}

static void check_progress(const struct run *run, uint64_t now)
{
    const struct peer *peer;
    if (now - run->heard_ns < (uint64_t)(run->options->stall_s * 1e9) || !(peer = anyone_outstanding(run)))
        return;
    fail("missing-bytes", "connection %u: %llu messages outstanding, silence for %g s", peer->id,
         (unsigned long long)(peer->issued - peer->done), run->options->stall_s);
}

/* Issues for `messages`, or for `seconds` if that is 0, then waits until every reply is there. */
static void run_phase(struct run *run, uint64_t messages, double seconds)
{
    struct epoll_event events[EVENTS];
    uint64_t now = now_ns();
    uint64_t deadline = messages ? UINT64_MAX : now + (uint64_t)(seconds * 1e9);

    histogram_clear(&run->latency);
    run->window = (struct window){.began_ns = now, .began_cpu_ns = own_cpu_ns()};
    run->stopping = 0;
    run->quota = messages ? messages : UINT64_MAX;
    run->heard_ns = now;
    for (unsigned i = 0; i < run->count; i++) {
        struct peer *peer = &run->peers[i];
        if (peer->is_firehose)
            peer->issued = UINT64_MAX;
        else
            issue(run, peer, run->options->depth, now);
        transmit(run, peer);
    }
    while (!run->stopping || run->in_flight > 0 || anyone_outstanding(run)) {
        int n = epoll_wait(run->epoll, events, EVENTS, TICK_MS);
        for (int i = 0; i < n; i++) {
            struct peer *peer = events[i].data.ptr;
            if (events[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP))
                do
                    receive(run, peer);
                while (stream_holds(&peer->stream));
            if (events[i].events & EPOLLOUT)
                transmit(run, peer);
        }
        now = now_ns();
        if (!run->stopping && (now >= deadline || run->quota == 0))
            stop(run);
        check_progress(run, now);
    }
    run->window.ended_ns = run->heard_ns;
    run->window.ended_cpu_ns = own_cpu_ns();
}

static void await(struct run *run, struct peer *peer, short events)
{
    struct pollfd wait = {.fd = peer->stream.fd, .events = events};
    if (poll(&wait, 1, (int)(run->options->stall_s * 1e3)) != 1)
        fail("connect", "connection %u: no answer for %g s", peer->id, run->options->stall_s);
}

static void await_connected(struct run *run, struct peer *peer)
{
    int error = 0;
    socklen_t length = sizeof error;

    await(run, peer, POLLOUT);
    getsockopt(peer->stream.fd, SOL_SOCKET, SO_ERROR, &error, &length);
    if (error)
        fail("connect", "connection %u: %s", peer->id, strerror(error));
    while (!stream_shakes(&peer->stream))
        await(run, peer, peer->stream.waits_for);
}

/* After our EOF the server must send EOF, and not one byte before it. */
static void end_connection(struct run *run, struct peer *peer)
{
    struct pollfd wait = {.fd = peer->stream.fd, .events = POLLIN};
    ssize_t n;

    do {
        if (poll(&wait, 1, (int)(run->options->stall_s * 1e3)) != 1)
            fail("not-closed", "connection %u: no end of stream %g s after ours", peer->id, run->options->stall_s);
        n = stream_receive(&peer->stream, inbox, sizeof inbox);
    } while (n < 0 && errno == EAGAIN); /* a record that is none of data, or is not whole */
    if (n < 0)
        fail("reset", "connection %u, at the end: %s", peer->id, strerror(errno));
    if (n > 0)
        fail("extra-bytes", "connection %u: %zd bytes after the last reply", peer->id, n);
    stream_close(&peer->stream);
    wire_free(&peer->wire);
    free(peer->issued_ns);
}

void run_echo(const struct options *options)
{
    static struct run run;

    run.options = options;
    run.count = options->connections + options->firehoses;
    run.epoll = epoll_create1(EPOLL_CLOEXEC);
    run.peers = calloc(run.count, sizeof *run.peers);
    if (run.epoll < 0 || !run.peers)
        fail("system", "%s", strerror(errno));
    for (unsigned i = 0; i < run.count; i++) {
        struct peer *peer = &run.peers[i];
        peer->id = i;
        peer->is_firehose = i >= options->connections;
        peer->issued_ns = calloc(options->depth, sizeof *peer->issued_ns);
        wire_make(&peer->wire, options, i, peer->is_firehose ? FIREHOSE_BYTES / options->size : options->depth);
        stream_open(&peer->stream, options, connect_begin(options));
        await_connected(&run, peer);
        arm(&run, peer, EPOLL_CTL_ADD, 0);
    }
    if (options->warmup_messages || options->warmup_seconds > 0)
        run_phase(&run, options->warmup_messages, options->warmup_seconds);
    sync_point(options, "window");
    run_phase(&run, options->messages, options->seconds);
    sync_point(options, "end");
    struct window window = run.window;
    for (unsigned i = 0; i < run.count; i++)
        stream_end(&run.peers[i].stream);
    for (unsigned i = 0; i < run.count; i++)
        end_connection(&run, &run.peers[i]);
    report(options, &window, &run.latency);
}
