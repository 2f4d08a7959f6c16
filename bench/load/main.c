/* The load generator of the bench: closed loop, single-threaded, every byte that comes back is compared. */

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>

#include "load.h"

/* The histogram alone, so that a test can hold it against exact percentiles: one value per line on stdin. */
static void run_histogram(void)
{
    static struct histogram h;
    uint64_t value;
    while (scanf("%" SCNu64, &value) == 1)
        histogram_record(&h, value, 1);
    printf("{\"p50\": %" PRIu64 ", \"p90\": %" PRIu64 ", \"p99\": %" PRIu64 ", \"p99.9\": %" PRIu64
           ", \"max\": %" PRIu64 ", \"count\": %" PRIu64 "}\n",
           histogram_percentile(&h, 50), histogram_percentile(&h, 90), histogram_percentile(&h, 99),
           histogram_percentile(&h, 99.9), h.max, h.count);
}

int main(int argc, char **argv)
{
    struct options options;
    struct rlimit files;

    options_parse(&options, argc, argv);
    signal(SIGPIPE, SIG_IGN);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    switch (options.mode) {
    case ECHO:
    case FAIRNESS: run_echo(&options); break;
    case CONNECT:
    case ACCEPT: run_connect(&options); break;
    case IDLE: run_idle(&options); break;
    case HISTOGRAM: run_histogram(); break;
    }
    return 0;
}
