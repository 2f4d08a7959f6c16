#include <arpa/inet.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "load.h"

static const char *const FRAMINGS[] = {"lines", "raw", "length-prefixed", "resp"};
static const char *const MODES[] = {"echo", "connect", "accept", "idle", "fairness", "histogram"};

static const char *const TLS[] = {"none", "full", "resumed"};

static const char USAGE[] =
    "usage: load (--port PORT [--host IPV4] | --unix PATH) [options]\n"
    "       load --mode histogram   (values on stdin, percentiles on stdout)\n"
    "  --mode echo|connect|accept|idle|fairness   what to do (echo)\n"
    "  --framing lines|raw|length-prefixed|resp   (lines)\n"
    "  --connections N      (64; fairness: 50)    --depth N   messages in flight on each (1)\n"
    "  --size BYTES         payload, framing excluded (31)\n"
    "  --messages N | --seconds S                 length of the measured window (1 s)\n"
    "  --warmup-messages N | --warmup-seconds S   (none)\n"
    "  --tls none|full|resumed                    TLS 1.3, each handshake in full or with a ticket (none)\n"
    "  --stall-s S          silence after which bytes are missing (10)\n"
    "  --sync               print 'window' and 'end', go on at a line on stdin\n"
    "In idle mode the commands on stdin are 'open N' (until N are held) and 'close'.\n";

static void usage(const char *problem, const char *value)
{
    fprintf(stderr, "load: %s%s%s\n%s", problem, value ? ": " : "", value ? value : "", USAGE);
    exit(2);
}

const char *framing_name(enum framing framing)
{
    return FRAMINGS[framing];
}

const char *mode_name(enum mode mode)
{
    return MODES[mode];
}

static unsigned choice(const char *const *names, unsigned count, const char *option, const char *value)
{
    for (unsigned i = 0; i < count; i++)
        if (strcmp(names[i], value) == 0)
            return i;
    usage(option, value);
    return 0;
}

static uint64_t whole(const char *option, const char *value, uint64_t least, uint64_t most)
{
    char *end;
    unsigned long long number = strtoull(value, &end, 10);
    if (*value == '\0' || *value == '-' || *end != '\0' || number < least || number > most)
        usage(option, value);
    return number;
}

static double duration(const char *option, const char *value)
{
    char *end;
    double seconds = strtod(value, &end);
    if (*value == '\0' || *end != '\0' || !(seconds >= 0 && seconds <= 3600))
        usage(option, value);
    return seconds;
}

static void tcp_address(struct options *o, const char *host, uint64_t port)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    if (inet_pton(AF_INET, host, &in.sin_addr) != 1)
        usage("not an IPv4 address", host);
    memcpy(&o->address, &in, sizeof in);
    o->address_length = sizeof in;
}

static void unix_address(struct options *o, const char *path)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof un.sun_path)
        usage("path too long for a Unix socket", path);
    strcpy(un.sun_path, path);
    memcpy(&o->address, &un, sizeof un);
    o->address_length = sizeof un;
}

void options_parse(struct options *o, int argc, char **argv)
{
    static const struct option LONG[] = {
        {"mode", required_argument, NULL, 'm'},        {"framing", required_argument, NULL, 'f'},
        {"host", required_argument, NULL, 'h'},        {"port", required_argument, NULL, 'p'},
        {"unix", required_argument, NULL, 'u'},        {"connections", required_argument, NULL, 'c'},
        {"depth", required_argument, NULL, 'd'},       {"size", required_argument, NULL, 's'},
        {"messages", required_argument, NULL, 'n'},    {"seconds", required_argument, NULL, 't'},
        {"warmup-messages", required_argument, NULL, 'N'}, {"warmup-seconds", required_argument, NULL, 'T'},
        {"stall-s", required_argument, NULL, 'S'},     {"sync", no_argument, NULL, 'y'},
        {"tls", required_argument, NULL, 'l'},
        {NULL, 0, NULL, 0}};
    const char *host = "127.0.0.1", *unix_path = NULL;
    uint64_t port = 0;
    int letter;

    *o = (struct options){.depth = 1, .size = 31, .seconds = 1, .stall_s = 10};
    while ((letter = getopt_long(argc, argv, "", LONG, NULL)) != -1) {
        switch (letter) {
        case 'm': o->mode = choice(MODES, 6, "no such mode", optarg); break;
        case 'f': o->framing = choice(FRAMINGS, 4, "no such framing", optarg); break;
        case 'h': host = optarg; break;
        case 'p': port = whole("--port is 1 to 65535", optarg, 1, 65535); break;
        case 'u': unix_path = optarg; break;
        case 'c': o->connections = (unsigned)whole("--connections is 1 to 100000", optarg, 1, 100000); break;
        case 'd': o->depth = (unsigned)whole("--depth is 1 to 65536", optarg, 1, 65536); break;
        case 's': o->size = whole("--size is 1 to 16777216", optarg, 1, 1 << 24); break;
        case 'n': o->messages = whole("--messages is at least 1", optarg, 1, UINT64_MAX); break;
        case 't': o->seconds = duration("--seconds is 0 to 3600", optarg); break;
        case 'N': o->warmup_messages = whole("--warmup-messages is a number", optarg, 0, UINT64_MAX); break;
        case 'T': o->warmup_seconds = duration("--warmup-seconds is 0 to 3600", optarg); break;
        case 'S': o->stall_s = duration("--stall-s is 0 to 3600", optarg); break;
        case 'l': o->tls = (enum tls)choice(TLS, 3, "no such TLS", optarg); break;
        case 'y': o->sync = 1; break;
        default: fputs(USAGE, stderr); exit(2);
        }
    }
    if (optind < argc)
        usage("unexpected argument", argv[optind]);
    if (o->mode == FAIRNESS)
        o->firehoses = 1;
    if (o->connections == 0)
        o->connections = o->mode == FAIRNESS ? 50 : 64;
    if (o->mode == HISTOGRAM)
        return;
    if ((port == 0) == (unix_path == NULL))
        usage("give one of --port and --unix", NULL);
    if (unix_path)
        unix_address(o, unix_path);
    else
        tcp_address(o, host, port);
}
