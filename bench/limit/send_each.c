/* The limit of a group: one message to each of many connections, a send(2) for each, and nothing else.
 *
 *     send_each CONNECTIONS ROUNDS MESSAGE
 *
 * It listens on a free port of 127.0.0.1, which is its first line of output. Once all members have connected it sends the message
 * to each of them, once a round, and prints the CPU time of a delivery, user and system, in microseconds.
 */

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <netinet/tcp.h>
#include <unistd.h>

static double cpu_us(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return 1e6 * (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: send_each CONNECTIONS ROUNDS MESSAGE\n");
        return 2;
    }
    int count = atoi(argv[1]), rounds = atoi(argv[2]), one = 1;
    const char *message = argv[3];
    size_t size = strlen(message);
    int *connections = calloc((size_t)count, sizeof(int));
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof name;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (connections == NULL || listener < 0 || bind(listener, (struct sockaddr *)&name, sizeof name) < 0 ||
        listen(listener, 1024) < 0 || getsockname(listener, (struct sockaddr *)&name, &length) < 0) {
        perror("send_each");
        return 1;
    }
    printf("%d\n", ntohs(name.sin_port));
    fflush(stdout);
    for (int index = 0; index < count; index++) {
        connections[index] = accept(listener, NULL, NULL);
        if (connections[index] < 0 || setsockopt(connections[index], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) < 0) {
            perror("send_each: accept");
            return 1;
        }
    }
    double before = cpu_us();
    for (int round = 0; round < rounds; round++)
        for (int index = 0; index < count; index++)
            if (send(connections[index], message, size, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)size) {
                perror("send_each: send");
                return 1;
            }
    printf("%.4f\n", (cpu_us() - before) / ((double)rounds * count));
    return 0;
}
