/*
 * What the bytes of a connection pass: its socket, or TLS over it. Without -DBENCH_TLS there is no TLS, and no OpenSSL is
 * needed.
 */

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "load.h"

#ifdef BENCH_TLS
#include <openssl/err.h>
#include <openssl/ssl.h>

/* The same cipher for whoever is measured: what OpenSSL and Python prefer by themselves. */
static const char CIPHER[] = "TLS_AES_256_GCM_SHA384";

static SSL_CTX *context;
static SSL_SESSION *session; /* of the last ticket that came */
static unsigned without_ticket; /* connections that began before any had come */

static int keep_session(SSL *ssl, SSL_SESSION *fresh)
{
    (void)ssl;
    if (session)
        SSL_SESSION_free(session);
    session = fresh;
    return 1; /* it is ours now */
}

static void make_context(const struct options *o)
{
    context = SSL_CTX_new(TLS_client_method());
    if (!context || !SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) ||
        !SSL_CTX_set_ciphersuites(context, CIPHER))
        fail("system", "no TLS 1.3 with %s", CIPHER);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL); /* what is measured is the server */
    if (o->tls == TLS_RESUMED) {
        SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
        SSL_CTX_sess_set_new_cb(context, keep_session);
    }
}

void stream_open(struct stream *s, const struct options *o, int fd)
{
    s->fd = fd;
    s->tls = NULL;
    s->waits_for = POLLOUT;
    if (o->tls == TLS_NONE)
        return;
    if (!context)
        make_context(o);
    if (o->tls == TLS_RESUMED && !session && ++without_ticket > o->connections)
        fail("not-resumed", "the server gave no ticket");
    SSL *ssl = SSL_new(context);
    if (!ssl || !SSL_set_fd(ssl, fd))
        fail("out-of-memory", "TLS");
    SSL_set_connect_state(ssl);
    if (session) { /* a copy: OpenSSL offers one that was used no more, and servers take a ticket as often as it comes */
        SSL_SESSION *copy = SSL_SESSION_dup(session);
        if (!copy || !SSL_set_session(ssl, copy))
            fail("out-of-memory", "a session");
        SSL_SESSION_free(copy);
    }
    s->tls = ssl;
    s->resumes = session != NULL;
}

/* Maps what OpenSSL says to what recv(2) and send(2) would; `n` is what the call returned. */
static ssize_t outcome(struct stream *s, int n)
{
    int why = SSL_get_error(s->tls, n), number = errno;
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) {
        s->waits_for = why == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT;
        errno = EAGAIN;
        return -1;
    }
    unsigned long reason = ERR_peek_error();
    if (why == SSL_ERROR_ZERO_RETURN || ERR_GET_REASON(reason) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
        ERR_clear_error();
        return 0;
    }
    if (why == SSL_ERROR_SYSCALL && number) {
        errno = number;
        return -1;
    }
    char text[200];
    ERR_error_string_n(reason, text, sizeof text);
    fail("tls", "%s", text);
}

int stream_shakes(struct stream *s)
{
    if (!s->tls || SSL_is_init_finished(s->tls))
        return 1;
    errno = 0;
    int n = SSL_do_handshake(s->tls);
    if (n != 1) {
        if (outcome(s, n) == 0)
            fail("reset", "the server left in the handshake");
        if (errno != EAGAIN)
            fail("reset", "handshake: %s", strerror(errno));
        return 0;
    }
    if (s->resumes && !SSL_session_reused(s->tls))
        fail("not-resumed", "the server did not take its own ticket");
    return 1;
}

ssize_t stream_send(struct stream *s, const void *data, size_t length)
{
    if (!s->tls)
        return send(s->fd, data, length, MSG_NOSIGNAL);
    if (!stream_shakes(s)) {
        errno = EAGAIN;
        return -1;
    }
    errno = 0;
    int n = SSL_write(s->tls, data, (int)length);
    return n > 0 ? n : outcome(s, n);
}

ssize_t stream_receive(struct stream *s, void *buffer, size_t room)
{
    if (!s->tls)
        return recv(s->fd, buffer, room, 0);
    if (!stream_shakes(s)) {
        errno = EAGAIN;
        return -1;
    }
    size_t got = 0;
    while (got < room) {
        errno = 0;
        int n = SSL_read(s->tls, (uint8_t *)buffer + got, (int)(room - got));
        if (n <= 0)
            return got ? (ssize_t)got : outcome(s, n);
        got += (size_t)n;
        if (!SSL_has_pending(s->tls))
            break;
    }
    return (ssize_t)got;
}

int stream_holds(const struct stream *s)
{
    return s->tls && SSL_pending(s->tls) > 0;
}

void stream_end(struct stream *s)
{
    if (s->tls)
        SSL_shutdown(s->tls);
    ERR_clear_error();
    shutdown(s->fd, SHUT_WR);
}

void stream_close(struct stream *s)
{
    if (s->tls)
        SSL_free(s->tls);
    s->tls = NULL;
    close(s->fd);
    s->fd = -1;
}

#else

void stream_open(struct stream *s, const struct options *o, int fd)
{
    if (o->tls != TLS_NONE)
        fail("usage", "this one was built without TLS");
    *s = (struct stream){.fd = fd, .waits_for = POLLOUT};
}

int stream_shakes(struct stream *s)
{
    (void)s;
    return 1;
}

ssize_t stream_send(struct stream *s, const void *data, size_t length)
{
    return send(s->fd, data, length, MSG_NOSIGNAL);
}

ssize_t stream_receive(struct stream *s, void *buffer, size_t room)
{
    return recv(s->fd, buffer, room, 0);
}

int stream_holds(const struct stream *s)
{
    (void)s;
    return 0;
}

void stream_end(struct stream *s)
{
    shutdown(s->fd, SHUT_WR);
}

void stream_close(struct stream *s)
{
    close(s->fd);
    s->fd = -1;
}

#endif
