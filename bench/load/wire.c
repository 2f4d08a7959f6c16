#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

/* A prime, so that no power-of-two buffer of a server lines up with it; and no more than a cache holds. */
enum { PERIOD = 61, PERIOD_BYTES = 1 << 20 };

static uint64_t scramble(uint64_t x) /* splitmix64 */
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static void fill_payload(uint8_t *out, size_t size, enum framing framing, unsigned id, size_t index)
{
    uint64_t state = scramble(((uint64_t)id << 32) ^ index);
    for (size_t i = 0; i < size; i++) {
        if (i % 8 == 0)
            state = scramble(state);
        uint8_t byte = (uint8_t)(state >> (i % 8 * 8));
        /* Lines hold no CR or LF: printable ASCII. Every other framing carries any byte. */
        out[i] = framing == LINES ? (uint8_t)('!' + byte % 94) : byte;
    }
    if (framing == LINES) {
        char name[32];
        size_t length = (size_t)snprintf(name, sizeof name, "%u:%zu ", id, index);
        memcpy(out, name, length < size ? length : size);
    }
}

static size_t prefix(char *out, size_t room, enum framing framing, size_t size, int is_request)
{
    switch (framing) {
    case LENGTH_PREFIXED:
        for (int i = 0; i < 4; i++)
            out[i] = (char)(size >> (24 - 8 * i));
        return 4;
    case RESP: return (size_t)snprintf(out, room, "%s$%zu\r\n", is_request ? "*2\r\n$4\r\nECHO\r\n" : "", size);
    default: return 0;
    }
}

static const char *suffix(enum framing framing)
{
    return framing == LINES ? "\n" : framing == RESP ? "\r\n" : "";
}

static uint8_t *frames(const struct options *o, unsigned id, size_t period, int is_request, size_t *frame_size)
{
    char head[64];
    size_t head_size = prefix(head, sizeof head, o->framing, o->size, is_request);
    const char *tail = suffix(o->framing);
    size_t tail_size = strlen(tail);
    *frame_size = head_size + o->size + tail_size;
    uint8_t *all = malloc(period * *frame_size);
    if (!all)
        fail("out-of-memory", "%zu messages of %zu bytes", period, *frame_size);
    for (size_t i = 0; i < period; i++) {
        uint8_t *frame = all + i * *frame_size;
        memcpy(frame, head, head_size);
        fill_payload(frame + head_size, o->size, o->framing, id, i);
        memcpy(frame + head_size + o->size, tail, tail_size);
    }
    return all;
}

void wire_make(struct wire *wire, const struct options *o, unsigned id, size_t in_flight)
{
    size_t affordable = PERIOD_BYTES / o->size;
    wire->period = affordable < PERIOD ? affordable : PERIOD;
    if (wire->period <= in_flight)
        wire->period = in_flight + 1;
    wire->requests = frames(o, id, wire->period, 1, &wire->request_size);
    if (o->framing == RESP) {
        wire->replies = frames(o, id, wire->period, 0, &wire->reply_size);
    } else {
        wire->replies = wire->requests;
        wire->reply_size = wire->request_size;
    }
}

void wire_free(struct wire *wire)
{
    if (wire->replies != wire->requests)
        free(wire->replies);
    free(wire->requests);
}

static void wrong_byte(unsigned id, uint64_t position, const uint8_t *expected, const uint8_t *got)
{
    size_t i = 0;
    while (expected[i] == got[i])
        i++;
    fail("wrong-byte", "connection %u, byte %llu: expected 0x%02x, got 0x%02x", id,
         (unsigned long long)(position + i), expected[i], got[i]);
}

void wire_check(const struct wire *wire, unsigned id, uint64_t position, const uint8_t *got, size_t length)
{
    size_t cycle = wire->period * wire->reply_size;
    size_t offset = (size_t)(position % cycle);
    while (length > 0) {
        size_t part = cycle - offset < length ? cycle - offset : length;
        if (memcmp(wire->replies + offset, got, part) != 0)
            wrong_byte(id, position, wire->replies + offset, got);
        got += part;
        position += part;
        length -= part;
        offset = 0;
    }
}
