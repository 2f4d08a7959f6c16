/* Preloaded: lets one allocation fail that the engine asks for, or a library whose path has one of the words of FAILING_WITHIN. The
 * file that FAILING_MALLOC names is shared memory; its first four bytes are a number that every such allocation lowers by one, and the
 * one that brings it to zero fails. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);

static volatile unsigned *waits;
static char within[256] = "/native/";

__attribute__((constructor)) static void begin(void)
{
    const char *name = getenv("FAILING_MALLOC"), *words = getenv("FAILING_WITHIN");
    if (words != NULL)
        strncpy(within, words, sizeof within - 1);
    int fd = name == NULL ? -1 : open(name, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return;
    void *shared = mmap(NULL, sizeof *waits, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (shared != MAP_FAILED)
        waits = shared;
    close(fd);
}

static int is_meant(const char *path)
{
    char words[sizeof within], *rest = NULL;
    memcpy(words, within, sizeof words);
    for (char *word = strtok_r(words, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest))
        if (strstr(path, word) != NULL)
            return 1;
    return 0;
}

static int fails(void *caller)
{
    Dl_info about;
    if (waits == NULL || *waits == 0 || !dladdr(caller, &about) || !is_meant(about.dli_fname))
        return 0;
    *waits -= 1;
    return *waits == 0;
}

void *malloc(size_t size)
{
    if (fails(__builtin_return_address(0))) {
        errno = ENOMEM;
        return NULL;
    }
    return __libc_malloc(size);
}

void *calloc(size_t number, size_t size)
{
    if (fails(__builtin_return_address(0))) {
        errno = ENOMEM;
        return NULL;
    }
    return __libc_calloc(number, size);
}

void *realloc(void *block, size_t size)
{
    if (fails(__builtin_return_address(0))) {
        errno = ENOMEM;
        return NULL;
    }
    return __libc_realloc(block, size);
}
