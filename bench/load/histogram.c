#include "histogram.h"

#include <math.h>
#include <string.h>

void histogram_clear(struct histogram *h)
{
    memset(h, 0, sizeof *h);
}

static unsigned slot_of(uint64_t value)
{
    if (value < 2 * HISTOGRAM_HALF)
        return (unsigned)value;
    unsigned shift = (unsigned)(63 - __builtin_clzll(value)) - 10;
    if (shift >= HISTOGRAM_SHIFTS)
        return HISTOGRAM_SLOTS - 1;
    return shift * HISTOGRAM_HALF + (unsigned)(value >> shift);
}

static uint64_t highest_in(unsigned slot)
{
    if (slot < 2 * HISTOGRAM_HALF)
        return slot;
    unsigned shift = slot / HISTOGRAM_HALF - 1;
    uint64_t top = slot - (uint64_t)shift * HISTOGRAM_HALF;
    return ((top + 1) << shift) - 1;
}

void histogram_record(struct histogram *h, uint64_t value, uint64_t times)
{
    h->slots[slot_of(value)] += times;
    h->count += times;
    if (value > h->max)
        h->max = value;
}

uint64_t histogram_percentile(const struct histogram *h, double percent)
{
    uint64_t wanted = (uint64_t)ceil((double)h->count * percent / 100.0);
    uint64_t seen = 0;

    if (h->count == 0)
        return 0;
    if (wanted == 0)
        wanted = 1;
    for (unsigned slot = 0; slot < HISTOGRAM_SLOTS; slot++) {
        seen += h->slots[slot];
        if (seen >= wanted) {
            uint64_t value = highest_in(slot);
            return value < h->max ? value : h->max;
        }
    }
    return h->max;
}
