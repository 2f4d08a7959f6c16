/*
 * Idle connections, opened and closed at a word on stdin. Each one sends one message and gets it back, so that the
 * server has accepted it and has run its handler once; then it is silent.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "load.h"

static void exchange(const struct options *o, struct stream *stream, unsigned id)
{
    struct wire wire;
    uint8_t inbox[4096];
    size_t sent = 0, received = 0;

    wire_make(&wire, o, id, 1);
    while (sent < wire.request_size) {
        ssize_t n = stream_send(stream, wire.requests + sent, wire.request_size - sent);
        if (n < 0)
            fail("reset", "connection %u, send: %s", id, strerror(errno));
        sent += (size_t)n;
    }
    while (received < wire.reply_size) {
        ssize_t n = stream_receive(stream, inbox, sizeof inbox);
        if (n < 0 && errno != EAGAIN)
            fail("reset", "connection %u, receive: %s", id, strerror(errno));
        if (n <= 0)
            fail("missing-bytes", "connection %u: %zu bytes outstanding", id, wire.reply_size - received);
        if ((size_t)n > wire.reply_size - received)
            fail("extra-bytes", "connection %u: more than was owed", id);
        wire_check(&wire, id, received, inbox, (size_t)n);
        received += (size_t)n;
    }
    wire_free(&wire);
}

static void close_all(struct stream *held, unsigned count)
{
    uint8_t byte;
    for (unsigned i = 0; i < count; i++)
        stream_end(&held[i]);
    for (unsigned i = 0; i < count; i++) {
        ssize_t n = stream_receive(&held[i], &byte, 1);
        if (n > 0)
            fail("extra-bytes", "connection %u: bytes after the reply", i);
        if (n < 0)
            fail(errno == EAGAIN ? "not-closed" : "reset", "connection %u, at the end: %s", i, strerror(errno));
        stream_close(&held[i]);
    }
}

void run_idle(const struct options *options)
{
    char line[64];
    unsigned count = 0, wanted;
    struct stream *held = calloc(options->connections, sizeof *held);

    if (!held)
        fail("out-of-memory", "%u descriptors", options->connections);
    while (fgets(line, sizeof line, stdin)) {
        if (sscanf(line, "open %u", &wanted) == 1) {
            for (; count < wanted && count < options->connections; count++) {
                stream_open(&held[count], options, connect_blocking(options));
                exchange(options, &held[count], count);
            }
        } else if (strcmp(line, "close\n") == 0) {
            close_all(held, count);
            count = 0;
        } else {
            fail("usage", "commands are 'open N' and 'close'");
        }
        printf("{\"held\": %u}\n", count);
        fflush(stdout);
    }
    free(held);
}
