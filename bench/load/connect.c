/*
 * Accept rate: each of `connections` slots connects, sends one message, gets it back, sends EOF, gets EOF, closes, and
 * begins again. One such exchange is one message of the result; its latency runs from connect to the server's EOF.
 * In accept mode no message is sent: connect, EOF, EOF, close.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "load.h"

enum { EVENTS = 256, TICK_MS = 100, INBOX_BYTES = 64 * 1024 };

struct slot {
    struct stream stream; /* -1: no exchange under way */
    unsigned id;
    struct wire wire;
    size_t message;  /* which of the period */
    size_t sent;     /* bytes of it */
    size_t received; /* bytes of its reply */
    uint64_t began_ns;
};

struct churn {
    const struct options *options;
    int epoll;
    struct slot *slots;
    int stopping;
    uint64_t quota;
    unsigned active;
    uint64_t heard_ns;
    struct window window;
    struct histogram latency;
};

static uint8_t inbox[INBOX_BYTES];

static void watch(struct churn *churn, struct slot *slot, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = slot};
    if (epoll_ctl(churn->epoll, operation, slot->stream.fd, &event) < 0)
        fail("system", "epoll_ctl: %s", strerror(errno));
}

/* Returns whether the whole request is out; where no reply will come, EOF is then out too. */
static int transmit(struct slot *slot)
{
    const uint8_t *request = slot->wire.requests + slot->message * slot->wire.request_size;
    ssize_t n = stream_send(&slot->stream, request + slot->sent, slot->wire.request_size - slot->sent);
    if (n < 0) { /* EAGAIN: full, or not connected yet, which an empty send finds out too */
        if (errno != EAGAIN && errno != EINTR)
            fail("reset", "connection %u, send: %s", slot->id, strerror(errno));
        return 0;
    }
    slot->sent += (size_t)n;
    if (slot->wire.reply_size == 0)
        stream_end(&slot->stream);
    return slot->sent == slot->wire.request_size;
}

/* What a slot waits for whose request has not gone: in the handshake of TLS to read and to write in turn. */
static uint32_t wanted(const struct slot *slot)
{
    return slot->stream.tls ? (uint32_t)slot->stream.waits_for : EPOLLIN | EPOLLOUT;
}

static void begin(struct churn *churn, struct slot *slot, uint64_t now)
{
    if (churn->stopping || churn->quota == 0)
        return;
    churn->quota--;
    churn->active++;
    slot->began_ns = now;
    slot->sent = slot->received = 0;
    slot->message = (slot->message + 1) % slot->wire.period;
    stream_open(&slot->stream, churn->options, connect_begin(churn->options));
    /* Over loopback the handshake is often complete already. */
    watch(churn, slot, EPOLL_CTL_ADD, transmit(slot) ? EPOLLIN : wanted(slot));
}

static int is_sent(const struct slot *slot)
{
    return slot->sent == slot->wire.request_size;
}

static void go_on(struct churn *churn, struct slot *slot)
{
    uint32_t before = wanted(slot);
    if (transmit(slot))
        watch(churn, slot, EPOLL_CTL_MOD, EPOLLIN);
    else if (wanted(slot) != before)
        watch(churn, slot, EPOLL_CTL_MOD, wanted(slot));
}

static void finish(struct churn *churn, struct slot *slot, uint64_t now)
{
    stream_close(&slot->stream);
    churn->active--;
    churn->window.messages++;
    histogram_record(&churn->latency, now - slot->began_ns, 1);
    begin(churn, slot, now);
}

static void receive(struct churn *churn, struct slot *slot)
{
    ssize_t n = stream_receive(&slot->stream, inbox, sizeof inbox);
    size_t owed = slot->sent == slot->wire.request_size || churn->options->framing == RAW
                      ? slot->wire.reply_size - slot->received
                      : 0;
    if (n < 0) {
        if (errno == EAGAIN || errno == EINTR)
            return;
        fail("reset", "connection %u, receive: %s", slot->id, strerror(errno));
    }
    churn->heard_ns = now_ns();
    if (n == 0) {
        if (slot->received < slot->wire.reply_size)
            fail("missing-bytes", "connection %u: end of stream with %zu bytes outstanding", slot->id, owed);
        finish(churn, slot, churn->heard_ns);
        return;
    }
    size_t expected = (size_t)n < owed ? (size_t)n : owed;
    if (expected > 0)
        wire_check(&slot->wire, slot->id, slot->message * slot->wire.reply_size + slot->received, inbox, expected);
    if ((size_t)n > expected)
        fail("extra-bytes", "connection %u: %zu bytes more than were owed", slot->id, (size_t)n - expected);
    slot->received += (size_t)n;
    churn->window.bytes += (uint64_t)n;
    if (slot->received == slot->wire.reply_size)
        stream_end(&slot->stream);
}

static void run_phase(struct churn *churn, uint64_t messages, double seconds)
{
    struct epoll_event events[EVENTS];
    uint64_t now = now_ns();
    uint64_t deadline = messages ? UINT64_MAX : now + (uint64_t)(seconds * 1e9);

    histogram_clear(&churn->latency);
    churn->window = (struct window){.began_ns = now, .began_cpu_ns = own_cpu_ns()};
    churn->stopping = 0;
    churn->quota = messages ? messages : UINT64_MAX;
    churn->heard_ns = now;
    for (unsigned i = 0; i < churn->options->connections; i++)
        begin(churn, &churn->slots[i], now);
    while (churn->active > 0) {
        int n = epoll_wait(churn->epoll, events, EVENTS, TICK_MS);
        for (int i = 0; i < n; i++) {
            struct slot *slot = events[i].data.ptr;
            if (events[i].events & EPOLLOUT || (slot->stream.tls && !is_sent(slot)))
                go_on(churn, slot);
            if ((!slot->stream.tls || is_sent(slot)) && events[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP))
                receive(churn, slot);
        }
        now = now_ns();
        if (now >= deadline)
            churn->stopping = 1;
        if (now - churn->heard_ns >= (uint64_t)(churn->options->stall_s * 1e9))
            fail("missing-bytes", "%u exchanges outstanding, silence for %g s", churn->active,
                 churn->options->stall_s);
    }
    churn->window.ended_ns = churn->heard_ns;
    churn->window.ended_cpu_ns = own_cpu_ns();
}

void run_connect(const struct options *options)
{
    static struct churn churn;

    churn.options = options;
    churn.epoll = epoll_create1(EPOLL_CLOEXEC);
    churn.slots = calloc(options->connections, sizeof *churn.slots);
    if (churn.epoll < 0 || !churn.slots)
        fail("system", "%s", strerror(errno));
    for (unsigned i = 0; i < options->connections; i++) {
        churn.slots[i] = (struct slot){.stream.fd = -1, .id = i};
        wire_make(&churn.slots[i].wire, options, i, 1);
        if (options->mode == ACCEPT)
            churn.slots[i].wire.request_size = churn.slots[i].wire.reply_size = 0;
    }
    if (options->warmup_messages || options->warmup_seconds > 0)
        run_phase(&churn, options->warmup_messages, options->warmup_seconds);
    sync_point(options, "window");
    run_phase(&churn, options->messages, options->seconds);
    sync_point(options, "end");
    report(options, &churn.window, &churn.latency);
    for (unsigned i = 0; i < options->connections; i++)
        wire_free(&churn.slots[i].wire);
    free(churn.slots);
}
