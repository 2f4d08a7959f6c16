#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "load.h"

void fail(const char *kind, const char *format, ...)
{
    va_list arguments;
    printf("{\"error\": \"%s\", \"detail\": \"", kind);
    va_start(arguments, format);
    vprintf(format, arguments); /* nothing that comes from a peer is ever printed as text: no escaping needed */
    va_end(arguments);
    printf("\"}\n");
    fflush(stdout);
    exit(1);
}

void sync_point(const struct options *options, const char *name)
{
    char byte;
    if (!options->sync)
        return;
    printf("%s\n", name);
    fflush(stdout);
    do {
        if (read(STDIN_FILENO, &byte, 1) != 1)
            fail("abandoned", "end of input at the sync point '%s'", name);
    } while (byte != '\n');
}

void report(const struct options *o, const struct window *w, const struct histogram *latency)
{
    double seconds = (double)(w->ended_ns - w->began_ns) / 1e9;
    uint64_t cpu_ns = w->ended_cpu_ns - w->began_cpu_ns;
    static const struct {
        const char *name;
        double percent;
    } PERCENTILES[] = {{"p50", 50}, {"p90", 90}, {"p99", 99}, {"p99.9", 99.9}};

    printf("{\"mode\": \"%s\", \"framing\": \"%s\", \"connections\": %u, \"depth\": %u, \"size\": %zu, ",
           mode_name(o->mode), framing_name(o->framing), o->connections, o->depth, o->size);
    printf("\"messages\": %llu, \"firehose_messages\": %llu, \"bytes\": %llu, \"seconds\": %.6f, ",
           (unsigned long long)w->messages, (unsigned long long)w->firehose_messages, (unsigned long long)w->bytes,
           seconds);
    printf("\"load_cpu_ns\": %llu, \"load_cpu_share\": %.4f, \"latency_ns\": {", (unsigned long long)cpu_ns,
           seconds > 0 ? (double)cpu_ns / 1e9 / seconds : 0);
    for (unsigned i = 0; i < sizeof PERCENTILES / sizeof *PERCENTILES; i++)
        printf("\"%s\": %llu, ", PERCENTILES[i].name,
               (unsigned long long)histogram_percentile(latency, PERCENTILES[i].percent));
    printf("\"max\": %llu, \"count\": %llu}}\n", (unsigned long long)latency->max, (unsigned long long)latency->count);
    fflush(stdout);
}
