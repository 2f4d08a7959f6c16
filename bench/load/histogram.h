/* Latencies in a log-linear histogram: the layout of HDR histograms, three significant digits, O(1) per record. */
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include <stdint.h>

/* 2048 linear slots, then 1024 more per power of two: a slot is never wider than 1/1024 of its value. */
enum { HISTOGRAM_HALF = 1024, HISTOGRAM_SHIFTS = 34, HISTOGRAM_SLOTS = (HISTOGRAM_SHIFTS + 1) * HISTOGRAM_HALF };

struct histogram {
    uint64_t slots[HISTOGRAM_SLOTS];
    uint64_t count;
    uint64_t max;
};

void histogram_clear(struct histogram *h);

/* Counts `value` `times` times. Values of 2**44 and over (about 4.9 hours in ns) share the last slot. */
void histogram_record(struct histogram *h, uint64_t value, uint64_t times);

/* The smallest recorded value, to 1 part in 1024 upwards, that `percent` per cent of all are at or under; 0 if empty. */
uint64_t histogram_percentile(const struct histogram *h, double percent);

#endif
