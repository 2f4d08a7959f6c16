/* The limit of a datagram echo: recvmmsg(2) and sendmmsg(2) of up to 64 datagrams, and nothing else.
 *
 *     udp_echo
 *
 * It serves on a free port of 127.0.0.1, which is its only line of output, until it is killed.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum { BATCH = 64, SIZE = 2048 };

int main(void)
{
    static char data[BATCH][SIZE];
    static struct sockaddr_in names[BATCH];
    static struct iovec parts[BATCH];
    static struct mmsghdr messages[BATCH];
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof name;
    int sock = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), size = 4 << 20;
    if (sock < 0 || setsockopt(sock, SOL_SOCKET, SO_RCVBUF, &size, sizeof size) < 0 ||
        bind(sock, (struct sockaddr *)&name, sizeof name) < 0 || getsockname(sock, (struct sockaddr *)&name, &length) < 0) {
        perror("udp_echo");
        return 1;
    }
    printf("%d\n", ntohs(name.sin_port));
    fflush(stdout);
    for (;;) {
        for (int index = 0; index < BATCH; index++) {
            parts[index] = (struct iovec){data[index], SIZE};
            messages[index].msg_hdr = (struct msghdr){
                .msg_name = &names[index], .msg_namelen = sizeof names[index], .msg_iov = &parts[index], .msg_iovlen = 1};
        }
        int count = recvmmsg(sock, messages, BATCH, MSG_DONTWAIT, NULL);
        if (count <= 0) {
            struct pollfd waited = {sock, POLLIN, 0};
            poll(&waited, 1, -1);
            continue;
        }
        for (int index = 0; index < count; index++)
            parts[index].iov_len = messages[index].msg_len;
        for (int sent = 0; sent < count;) {
            int more = sendmmsg(sock, messages + sent, (unsigned)(count - sent), 0);
            if (more < 0) {
                perror("udp_echo: sendmmsg");
                return 1;
            }
            sent += more;
        }
    }
}
