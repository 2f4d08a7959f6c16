/* The load of a datagram echo: batches of 64, each of which has to be back before the next one leaves.
 *
 *     udp_load PORT
 *
 * Each line of its input is a number of batches: it sends them to 127.0.0.1, compares every byte that comes back, and prints a
 * line. A datagram that is lost or differs ends it with status 1.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { BATCH = 64, SIZE = 32, PATIENCE_MS = 5000 };

static char sent[BATCH][SIZE], got[BATCH][SIZE + 1];
static struct iovec out[BATCH], in[BATCH];
static struct mmsghdr outgoing[BATCH], incoming[BATCH];

static int fail(const char *what)
{
    fprintf(stderr, "udp_load: %s\n", what);
    return 1;
}

static int exchange(int sock, long long first)
{
    for (int index = 0; index < BATCH; index++) {
        snprintf(sent[index], SIZE, "%031lld", first + index);
        outgoing[index].msg_hdr = (struct msghdr){.msg_iov = &out[index], .msg_iovlen = 1};
        out[index] = (struct iovec){sent[index], SIZE};
        in[index] = (struct iovec){got[index], SIZE + 1};
        incoming[index].msg_hdr = (struct msghdr){.msg_iov = &in[index], .msg_iovlen = 1};
    }
    for (int done = 0; done < BATCH;) {
        int count = sendmmsg(sock, outgoing + done, (unsigned)(BATCH - done), 0);
        if (count < 0)
            return fail("sendmmsg failed");
        done += count;
    }
    for (int done = 0; done < BATCH;) {
        int count = recvmmsg(sock, incoming + done, (unsigned)(BATCH - done), MSG_DONTWAIT, NULL);
        if (count <= 0) {
            struct pollfd waited = {sock, POLLIN, 0};
            if (poll(&waited, 1, PATIENCE_MS) <= 0)
                return fail("a datagram was lost");
            continue;
        }
        for (int index = done; index < done + count; index++)
            if (incoming[index].msg_len != SIZE || memcmp(sent[index], got[index], SIZE) != 0)
                return fail("a reply is another one's");
        done += count;
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int sock = socket(AF_INET, SOCK_DGRAM, 0), size = 4 << 20;
    long long number = 0;
    long batches;
    if (argc != 2)
        return fail("usage: udp_load PORT");
    name.sin_port = htons((unsigned short)atoi(argv[1]));
    if (sock < 0 || setsockopt(sock, SOL_SOCKET, SO_RCVBUF, &size, sizeof size) < 0 ||
        connect(sock, (struct sockaddr *)&name, sizeof name) < 0)
        return fail("no socket");
    while (scanf("%ld", &batches) == 1) {
        for (; batches > 0; batches--, number += BATCH)
            if (exchange(sock, number))
                return 1;
        printf("done\n");
        fflush(stdout);
    }
    return 0;
}
