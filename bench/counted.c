/* Loaded into a server that runs under callgrind: the program that drives the server says when a round ends.
 *
 * One byte on stdin has callgrind write what it counted since the last time, and is answered with one byte on stdout.
 * All of it happens in a thread that never holds the interpreter's lock, so that it costs the server no instruction worth counting.
 */

#include <unistd.h>
#include <valgrind/callgrind.h>

void follow(void) {
    char byte;
    while (read(STDIN_FILENO, &byte, 1) == 1) {
        CALLGRIND_DUMP_STATS;
        if (write(STDOUT_FILENO, ".", 1) != 1) return;
    }
}
